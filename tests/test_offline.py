"""Beside a teacher on this machine nothing else is spoken to: no Hub, no telemetry, no download counter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import BANKS, EXAMPLES, ROOT
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

# In every Python process of a test, whoever starts it: each address that is connected to or looked up is written down,
# and whatever is not this machine is refused.
WATCH = """
import os, sys

def _watch(event, details):
    if event in ("socket.connect", "socket.sendto"):
        address = details[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = details[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    here = not host or host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")
    with open(os.environ["WATCH_LOG"], "a") as log:
        log.write(f"{'here' if here else 'away'} {event} {host}\\n")
    if not here:
        import traceback
        sys.stderr.write("".join(traceback.format_stack()[:-1]))
        raise PermissionError(f"{event} of {host}: only this machine may be spoken to")

sys.addaudithook(_watch)
"""
SPEAKING = """
import huggingface_hub, urllib.request
for attempt in (lambda: huggingface_hub.HfApi().model_info("org/name"), lambda: urllib.request.urlopen("http://192.0.2.1")):
    try:
        attempt()
    except Exception as error:
        print(type(error).__name__)
"""
LIBRARY = """
import json, sys
import rebase_hf
from datasets import load_dataset
asked = json.loads(sys.argv[1])
rows = load_dataset("rebase", **asked, split="train", num_proc=2)
streamed = list(load_dataset("rebase", **asked, split="train", streaming=True))
examples = list(rebase_hf.generate(**asked))
assert len(rows) == len(streamed) == len(examples) == asked["num_examples"]
assert rows[0]["message"] == streamed[0]["message"] == examples[0].fields["message"]
"""
# Nothing of the switches that the other tests set: as a user's machine is.
SWITCHES = (
    "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK",
    "HF_UPDATE_DOWNLOAD_COUNTS", "HF_HUB_DISABLE_XET", "HF_ENDPOINT", "HF_TOKEN",
)  # fmt: skip


class Watched:
    """Processes whose every connection is written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "watch").mkdir()
        (folder / "watch" / "sitecustomize.py").write_text(WATCH)
        self.log = folder / "spoken-to"
        self.log.touch()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if name not in SWITCHES} | {
            "PYTHONPATH": os.pathsep.join((str(self.folder / "watch"), str(ROOT))),
            "WATCH_LOG": str(self.log),
            "HOME": str(self.folder),
            "HF_HOME": str(self.folder / "hf"),
            "REBASE_HOME": str(self.folder / "rebase"),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        return subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=env, capture_output=True, text=True, timeout=280
        )

    def spoken_to(self) -> list[str]:
        return self.log.read_text().splitlines()

    def away(self) -> list[str]:
        return sorted({line for line in self.spoken_to() if line.startswith("away")})


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.fixture
def task_file(tmp_path, triage) -> Path:
    held = [{"message": f"Where is order {n}?", "desk": desk} for n, desk in enumerate(("parcels", "money", "other"))]
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    task = {**triage, "evaluation": {"path": "held.jsonl"}}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    return tmp_path / "task.yaml"


def test_the_watch_sees_and_refuses_what_goes_elsewhere(watched):
    done = watched.run("-c", SPEAKING)
    assert done.returncode == 0, done.stderr
    assert any("huggingface.co" in line for line in watched.away())
    assert any("192.0.2.1" in line for line in watched.away())


@pytest.mark.slow
# huggingface_hub itself looks up, once a day, which agents it may run in, to tell servers so; these turn that off.
@pytest.mark.parametrize("offline", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_DISABLE_TELEMETRY": "1"}], ids=lambda v: min(v))
def test_load_dataset_and_generate_speak_to_the_teacher_alone(watched, task_file, model_index, offline):
    with TGIServer(desk_answer) as server:
        asked = {"task": str(task_file), "index": str(model_index), "teacher": server.url, "num_examples": 12}
        done = watched.run("-c", LIBRARY, json.dumps(asked), **offline)
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(server.chat_requests) >= 12
    assert watched.away() == []
    assert any("socket.connect" in line for line in watched.spoken_to())


@pytest.mark.slow
@pytest.mark.parametrize("offline", [{"HF_HUB_OFFLINE": "1"}, {}], ids=["offline", "online"])
def test_the_command_line_speaks_to_the_teacher_alone(watched, task_file, offline):
    """An index by the default encoder, the dataset, the student, its evaluation, the pages."""
    rows = [{"text": f"The courier left parcel {n} in the rain, and nobody answers."} for n in range(10)]
    (watched.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [part for name in BANKS for part in ("--source", str(EXAMPLES / "bank" / name))]
    sources += ["--source", "rows.jsonl", "--license", "any"]
    options = ["--num-examples", "12", "--max-pairs", "8", "--output", "run"]
    with TGIServer(desk_answer) as server:
        for command in (
            ["index", "build", "index", *sources, "--max-rows-per-source", "20"],
            ["index", "search", "index", "a parcel that is late", "-k", "3"],
            ["run", str(task_file), "--index", "index", "--teacher", server.url, *options],
            ["report", "run"],
            ["trace", "run", "3"],
            ["export", "run"],
            ["doctor"],
        ):
            done = watched.run("-m", "rebase_hf", *command, **offline)
            assert done.returncode == 0, (command, done.stderr[-3000:])
            assert watched.away() == [], command
        assert len(server.chat_requests) >= 12
    assert (watched.folder / "run" / "student").is_dir()


@pytest.mark.slow
def test_the_few_shot_teacher_speaks_to_nobody(watched, task_file, model_index):
    command = ["generate", str(task_file), "--index", str(model_index), "--teacher", "few-shot"]
    done = watched.run("-m", "rebase_hf", *command, "--num-examples", "10", "--output", "run")
    assert done.returncode in (0, 3), done.stderr[-3000:]
    assert watched.away() == []
