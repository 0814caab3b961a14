"""The steps run by datatrove's executors: local with a worker killed, Slurm with stand-ins for its commands, Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rebase_hf.index.encoders import PROBES
from rebase_hf.index.row_index import RowIndex
from tests.doubles.hub_server import HubServer
from tests.doubles.slurm_commands import write_commands
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.index.hub_process import card, run

pytest.importorskip("datatrove")
pytestmark = pytest.mark.timeout(200)
ROOT = Path(__file__).parents[2]
HEAD = """
import sys
from pathlib import Path
from rebase_hf.index.distributed import BuildSettings, merge_step, plan_index, read_step, segment_step
from tests.index.hashing_encoder import HashingEncoder
folder, log, kill_at, *sources = sys.argv[1:]
shared = folder + "/shared"
reader = read_step(shared, encoder=HashingEncoder(log=Path(log), kill_at=kill_at or None))
"""
PLANNED = """
    plan_index(shared, sources, tasks=4, encoder=HashingEncoder(), settings=BuildSettings(max_segment_texts=90))
"""
LOCAL = (
    HEAD
    + """
from datatrove.executor import LocalPipelineExecutor

def local(step, name, tasks, depends=None):
    return LocalPipelineExecutor([step], tasks, workers=2, logging_dir=f"{folder}/logs/{name}", depends=depends)

if __name__ == "__main__":"""
    + PLANNED
    + """
    read = local(reader, "read", 4)
    segments = local(segment_step(shared), "segments", 3, read)
    local(merge_step(shared, folder + "/index"), "merge", 1, segments).run()
"""
)
SLURM = (
    HEAD
    + """
from datatrove.executor import SlurmPipelineExecutor

def slurm(step, name, tasks, depends=None):
    return SlurmPipelineExecutor([step], tasks, time="00:10:00", partition="cpu", job_name=name, depends=depends,
                                 logging_dir=f"{folder}/logs/{name}")

if __name__ == "__main__":"""
    + PLANNED
    + """
    read = slurm(reader, "read", 4)
    segments = slurm(segment_step(shared), "segments", 3, read)
    slurm(merge_step(shared, folder + "/index"), "merge", 1, segments).run()
"""
)
RAY = (
    HEAD
    + """
import ray
from datatrove.executor import RayPipelineExecutor

def on_ray(step, name, tasks, depends=None):
    return RayPipelineExecutor([step], tasks, workers=2, depends=depends, mem_per_cpu_gb=0.3,
                               logging_dir=f"{folder}/logs/{name}")

if __name__ == "__main__":"""
    + PLANNED
    + """
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    read = on_ray(reader, "read", 4)
    segments = on_ray(segment_step(shared), "segments", 3, read)
    on_ray(merge_step(shared, folder + "/index"), "merge", 1, segments).run()
"""
)


@pytest.fixture
def sources(tmp_path) -> list[str]:
    return [
        write_source(
            tmp_path / "bank" / f"letters{part}",
            [{"text": f"letter {i} to {part} about geese", "note": f"note {i} of {part}"} for i in range(20)],
            about=f"Letters to the farmers of valley {part}.",
        )
        for part in range(8)
    ]


def start(code: str, folder: Path, sources: list[str], *, kill_at: str = "", **env: str) -> subprocess.Popen:
    script = folder / "build.py"  # workers import what they run from a file
    script.write_text(code)
    command = [sys.executable, str(script), str(folder), str(folder / "log"), kill_at, *sources]
    home = {"REBASE_HOME": str(folder / "home"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **home, **env},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def finish(build: subprocess.Popen, folder: Path) -> None:
    assert build.wait(180) == 0, (folder / "output").read_text()[-3000:]


def wait_for(what: Callable[[], bool], build: subprocess.Popen, folder: Path) -> None:
    until = time.monotonic() + 120
    while not what():
        assert build.poll() is None and time.monotonic() < until, (folder / "output").read_text()[-3000:]
        time.sleep(0.05)


def encoded(folder: Path) -> list[str]:
    return [text for text in (folder / "log").read_text().splitlines() if text not in PROBES]


@pytest.mark.slow
def test_a_killed_worker_of_the_local_executor_is_resumed_and_the_index_is_one_machines(tmp_path, sources, snapshot):
    # Ranks 0 to 3 have the sources 0 and 4, 1 and 5 and so on: rank 1 dies in its second one.
    build = start(LOCAL, tmp_path, sources, kill_at="letter 7 to 5 ")
    finished = tmp_path / "logs" / "read" / "completions"
    wait_for(lambda: finished.is_dir() and len(list(finished.iterdir())) == 3, build, tmp_path)
    # The executor's pool waits for the dead worker's rank for ever, so the whole of it is ended, as by a power cut.
    os.killpg(build.pid, signal.SIGKILL)
    assert build.wait(60) == -signal.SIGKILL
    assert sorted(entry.name for entry in finished.iterdir()) == ["00000", "00002", "00003"]
    assert not (tmp_path / "shared" / "segments").exists()
    before = len(encoded(tmp_path))
    finish(start(LOCAL, tmp_path, sources), tmp_path)
    again = encoded(tmp_path)[before:]
    assert sorted(again) == sorted(
        [f"letter {i} to 5 about geese" for i in range(20)]
        + [f"note {i} of 5" for i in range(20)]
        + ["Letters to the farmers of valley 5."]
    )
    one = RowIndex.build(tmp_path / "one", sources, encoder=HashingEncoder(), max_segment_texts=90)
    index = RowIndex.open(tmp_path / "index", encoder=HashingEncoder())
    assert index.fingerprint == one.fingerprint
    assert snapshot(index.path) == snapshot(one.path)
    assert index.search("which note is of 5", k=9) == one.search("which note is of 5", k=9)


@pytest.mark.slow
def test_slurm_jobs_make_the_index_that_one_machine_makes(tmp_path, sources, snapshot):
    commands = write_commands(tmp_path / "bin")
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    jobs = tmp_path / "jobs"
    finish(start(SLURM, tmp_path, sources, PATH=path, SLURM_JOBS=str(jobs)), tmp_path)
    held = [line.split(" ", 2) for line in jobs.read_text().splitlines()]
    ran = [(number, codes) for number, _, codes in held if codes != "[0]" or number == "5"]
    assert ran == [("1", "[0, 0, 0, 0]"), ("3", "[0, 0, 0]"), ("5", "[0]")]  # between them datatrove adds up its stats
    assert [depends for _, depends, _ in held][2::2] == ["afterok:1", "afterok:3"]
    one = RowIndex.build(tmp_path / "one", sources, encoder=HashingEncoder(), max_segment_texts=90)
    assert snapshot(tmp_path / "index") == snapshot(one.path)


@pytest.mark.ray
def test_ray_makes_the_index_that_one_machine_makes(tmp_path, sources, snapshot):
    pytest.importorskip("ray")
    finish(start(RAY, tmp_path, sources, RAY_USAGE_STATS_ENABLED="0"), tmp_path)
    one = RowIndex.build(tmp_path / "one", sources, encoder=HashingEncoder(), max_segment_texts=90)
    assert snapshot(tmp_path / "index") == snapshot(one.path)


JOB = """
import os
from datatrove.executor import JobsPipelineExecutor
from datatrove.io import get_datafolder
from huggingface_hub import create_repo
from rebase_hf.index.distributed import BuildSettings, merge_step, plan_index, read_step, segment_step
shared = "hf://datasets/org/build/shared"
def job(name, index):
    tasks, step = {"read": (2, read_step(shared, encoder=HashingEncoder())), "segments": (2, segment_step(shared)),
                   "merge": (1, merge_step(shared, folder + "/many"))}[name]
    executor = JobsPipelineExecutor([step], tasks, logging_dir=f"hf://datasets/org/build/logs/{name}")
    executor.logging_dir.pipe_file("ranks_to_run.json", json.dumps(list(range(tasks))).encode())
    os.environ["DATATROVE_JOB_ARRAY_INDEX"] = str(index)  # what tells it that it is in the job
    executor.run()
    print(json.dumps([executor.is_rank_completed(index)]))
"""


@pytest.mark.slow
def test_what_runs_in_jobs_of_the_hub_makes_the_index_that_one_machine_makes(tmp_path):
    with HubServer() as hub:
        for name in ("letters", "notes", "memos"):
            rows = "".join(json.dumps({"text": f"A line of {name}, number {i}"}) + "\n" for i in range(20))
            hub.add_repo(f"org/{name}", {"README.md": card("mit", f"Some {name}."), "train.jsonl": rows})
        given = 'given = ["org/letters", "org/notes", "org/memos"]\n'
        one = run(hub, tmp_path / "one", given + "build(given)")
        plan = 'create_repo("org/build", repo_type="dataset")\n'
        plan += 'plan_index(shared, given, tasks=2, encoder=HashingEncoder())\nprint("{}")'
        run(hub, tmp_path / "driver", JOB + given + plan)
        for step, tasks in (("read", 2), ("segments", 2)):
            for index in range(tasks):  # each on a machine of its own
                assert run(hub, tmp_path / f"{step}{index}", JOB + f'job("{step}", {index})') == [True]
        run(hub, tmp_path / "driver", JOB + 'job("merge", 0)')
        many = run(hub, tmp_path / "driver", 'show(RowIndex.open(folder + "/many", encoder=HashingEncoder()))')
    assert {**many, "path": ""} == {**one, "path": ""}
