"""The Hub double is believed because the real clients work against it."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub_server import HubServer

CARD = b"---\nlicense: mit\nlanguage: en\nconfigs:\n- config_name: default\n  data_files: data/*.jsonl\n---\n# Notes\n"
ROWS = b"".join(json.dumps({"text": f"row {i}", "n": i}).encode() + b"\n" for i in range(5))


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def run(hub: HubServer, home: Path, code: str, *arguments: str, token: str | None = HubServer.token) -> Any:
    """Run code in a process that sees the Hub; what it assigns to `result` comes back."""
    script = "import sys, json\n" + textwrap.dedent(code) + "\nprint(json.dumps(result, default=str))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=hub.env(home, token), cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_datasets_and_files_are_read_at_the_revision_asked_for(hub: HubServer, tmp_path: Path) -> None:
    old = hub.add_repo("org/notes", {"README.md": CARD, "data/train.jsonl": ROWS})
    new = hub.add_repo("org/notes", {"data/train.jsonl": b'{"text": "only", "n": 9}\n', "extra/deep/a.txt": b"abc"})
    code = """
        from datasets import load_dataset
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download
        from pathlib import Path
        old, new = sys.argv[1:]
        api, kind = HfApi(), {"repo_type": "dataset"}
        info = api.dataset_info("org/notes", revision=old)
        folder = Path(snapshot_download("org/notes", repo_type="dataset"))
        result = {
            "stream": [row["text"] for row in load_dataset("org/notes", streaming=True, split="train", revision=old)],
            "loaded": load_dataset("org/notes", split="train")["text"][:],
            "info": [info.sha, info.card_data["license"], info.private, info.gated],
            "file": Path(hf_hub_download("org/notes", "data/train.jsonl", revision=old, **kind)).read_text(),
            "snapshot": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()),
            "tree": sorted(item.path for item in api.list_repo_tree("org/notes", recursive=True, **kind)),
        }
    """
    result = run(hub, tmp_path, code, old, new)
    assert result["stream"] == [f"row {i}" for i in range(5)]
    assert result["loaded"] == ["only"]
    assert result["info"] == [old, "mit", False, False]
    assert result["file"] == ROWS.decode()
    assert result["snapshot"] == [".gitattributes", "README.md", "data/train.jsonl", "extra/deep/a.txt"]
    assert result["tree"] == [".gitattributes", "README.md", "data", "data/train.jsonl"] + [
        "extra",
        "extra/deep",
        "extra/deep/a.txt",
    ]


def test_what_is_pushed_is_read_back_and_a_second_push_makes_no_commit(hub: HubServer, tmp_path: Path) -> None:
    code = """
        from datasets import Dataset, load_dataset
        from huggingface_hub import HfApi
        made = Dataset.from_dict({"text": ["a", "b"]})
        made.push_to_hub("org/made")
        before = len(HfApi().list_repo_commits("org/made", repo_type="dataset"))
        made.push_to_hub("org/made")
        after = len(HfApi().list_repo_commits("org/made", repo_type="dataset"))
        result = [load_dataset("org/made", split="train")["text"][:], after - before]
    """
    assert run(hub, tmp_path, code) == [["a", "b"], 0]
    assert any(path.endswith(".parquet") for path in hub.repos["dataset", "org/made"].files)


def test_folders_commits_and_tags_are_written(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "weights.safetensors").write_bytes(b"\0" * 100)
    (tmp_path / "up" / "config.json").write_text("{}")
    code = """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
        from huggingface_hub.errors import HfHubHTTPError
        api = HfApi()
        api.create_repo("org/student", private=True)
        first = api.upload_folder(repo_id="org/student", folder_path="up").oid
        operations = [CommitOperationAdd("b.txt", b"b"), CommitOperationDelete("config.json")]
        second = api.create_commit("org/student", operations, commit_message="two", parent_commit=first).oid
        try:
            late = [CommitOperationAdd("c.txt", b"c")]
            api.create_commit("org/student", late, commit_message="x", parent_commit=first)
            late = 200
        except HfHubHTTPError as error:
            late = error.response.status_code
        api.create_tag("org/student", tag="v1", revision=first)
        refs = api.list_repo_refs("org/student")
        files = sorted(api.list_repo_files("org/student", revision="v1"))
        result = [late, files, refs.tags[0].target_commit == first, refs.branches[0].target_commit == second]
    """
    result = run(hub, tmp_path, code)
    assert result == [412, [".gitattributes", "config.json", "weights.safetensors"], True, True]
    repo = hub.repos["model", "org/student"]
    assert set(repo.files) == {".gitattributes", "weights.safetensors", "b.txt"}
    assert repo.private
    assert repo.head.files["weights.safetensors"].lfs


def test_refusals_become_the_errors_that_the_client_knows(hub: HubServer, tmp_path: Path) -> None:
    hub.add_repo("org/closed", {"a.txt": b"a"}, gated="manual")
    hub.add_repo("org/secret", {"a.txt": b"a"}, private=True)
    hub.add_repo("org/open", {"a.txt": b"a"})
    code = """
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
        def outcome(do, *args, **kwargs):
            try:
                do(*args, **kwargs)
                return "done"
            except HfHubHTTPError as error:
                return f"{type(error).__name__} {error.response.status_code}"
        get = lambda *args, **kwargs: hf_hub_download(*args, repo_type="dataset", **kwargs)
        result = [
            outcome(get, "org/closed", "a.txt"),
            outcome(get, "org/secret", "a.txt", token=False),
            outcome(get, "org/secret", "a.txt"),
            outcome(get, "org/open", "b.txt"),
            outcome(get, "org/open", "a.txt", revision="nope"),
            outcome(get, "org/none", "a.txt"),
            outcome(HfApi().create_repo, "others/x"),
            outcome(HfApi(token="hf_testRead").create_repo, "org/x"),
            outcome(HfApi(token="hf_wrong").whoami),
            HfApi().whoami()["name"],
            HfApi().dataset_info("org/closed").gated,
        ]
    """
    assert run(hub, tmp_path, code) == [
        "GatedRepoError 403",
        "RepositoryNotFoundError 401",
        "done",
        "RemoteEntryNotFoundError 404",
        "RevisionNotFoundError 404",
        "RepositoryNotFoundError 404",
        "HfHubHTTPError 403",
        "HfHubHTTPError 403",
        "HfHubHTTPError 401",
        "tester",
        "manual",
    ]


def test_parquet_is_streamed_by_ranges(hub: HubServer, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [f"row {i}" for i in range(50)]}), tmp_path / "train.parquet")
    sha = hub.add_repo("org/parquet", {"data/train.parquet": (tmp_path / "train.parquet").read_bytes()})
    code = """
        from datasets import load_dataset
        rows = load_dataset("org/parquet", split="train", streaming=True, revision=sys.argv[1])
        result = [row["text"] for row in rows]
    """
    assert run(hub, tmp_path, code, sha) == [f"row {i}" for i in range(50)]
