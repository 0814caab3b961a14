"""When a push writes: all is checked before anything is there, and a tag is on the commit that was made."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.errors import PublishError
from rebase_hf.publish.hub import push_dataset
from tests.doubles.hub_server import HubServer
from tests.publish.test_hub import TRY, relist, with_private_rows

OnHub = Callable[..., Any]
RUN = "rebase_hf.publish.hub import push_run"


def test_a_refused_push_leaves_no_repository(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage')"
    assert "--redact" in on_hub(code, with_private_rows(run))
    assert ("dataset", "org/triage") not in hub.repos
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage', redact=True, tag='v 1')"
    assert "can be no tag's name" in on_hub(code, run)
    assert ("dataset", "org/triage") not in hub.repos


def test_what_refuses_the_student_keeps_the_dataset_back_too(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"{TRY}\n    from {RUN}\n    result = outcome(lambda: list(push_run(sys.argv[1], 'org/triage')))"
    (run / "student" / "notes.txt").write_text("Call ann.berg@mail.net.")
    relist(run, "notes.txt")
    assert "notes.txt" in on_hub(code, run)
    assert not [key for key in hub.repos if key[1] == "org/triage"]
    (run / "student" / "notes.txt").write_text("Call the desk.")
    assert on_hub(code, run) == [f"{hub.url}/datasets/org/triage", f"{hub.url}/org/triage"]
    assert [hub.repos[kind, "org/triage"].private for kind in ("dataset", "model")] == [False, False]
    assert hub.repos["model", "org/triage"].card(hub.repos["model", "org/triage"].head)["datasets"] == ["org/triage"]


@pytest.mark.slow
@pytest.mark.parametrize("on_head", [True, False])
def test_a_taken_tag_stops_a_push_before_its_commit(hub: HubServer, on_hub: OnHub, run: Path, on_head: bool) -> None:
    code = f"{TRY}\n    result = outcome(push_dataset, sys.argv[1], 'org/triage', tag='v1', redact=True)"
    on_hub(code, run)
    repo = hub.repos["dataset", "org/triage"]
    tagged, commits = repo.tags["v1"], len(repo.commits)
    assert tagged == repo.head.sha
    if on_head:
        with_private_rows(run)
    else:
        hub.add_repo("org/triage", {"notes.txt": "theirs"})
        commits += 1
    assert "has a tag `v1` on another content" in on_hub(code, run)
    assert (len(repo.commits), repo.tags) == (commits, {"v1": tagged})
    on_hub(code.replace("'v1'", "'v2'"), run)
    assert repo.tags["v2"] == repo.head.sha


def test_taking_out_and_keeping_what_is_personal_exclude_each_other(run: Path) -> None:
    with pytest.raises(PublishError, match="give one of them"):
        push_dataset(run, "org/triage", redact=True, keep_personal=True)


def test_what_is_to_be_private_is_refused_beside_the_proof_of_write_access(hub: HubServer, on_hub: OnHub) -> None:
    hub.add_repo("org/open", {"a.txt": "a"})
    hub.add_repo("org/mine", {"a.txt": "a"}, private=True)
    code = f"""{TRY}
    names = ("org/open", "org/mine", "org/new")
    result = [outcome(prove_write_access, name, private=True) for name in names]
    """
    refused, *allowed = on_hub(code)
    assert "org/open is there already and public, and it was to be private" in refused
    assert allowed == [None, None]


def test_a_redacted_dataset_says_what_was_taken_out_of_it(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"{TRY}\n    result = push_dataset(sys.argv[1], sys.argv[2], redact=True)"
    on_hub(code, with_private_rows(run), "org/triage")
    files = hub.repos["dataset", "org/triage"].files
    told = {"rows": 1, "values": {"email": 1, "phone": 1}}
    assert json.loads(files["report.json"])["redacted"] == told
    card = files["README.md"].decode()
    assert "1 of kind `email`, 1 of kind `phone` in 1 row looked personal" in card and "as `[email]`" in card
    assert "redacted" not in json.loads((run / "report.json").read_text())


def test_a_dataset_that_nothing_was_taken_out_of_says_nothing(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    on_hub(f"{TRY}\n    result = push_dataset(sys.argv[1], 'org/triage', redact=True)", run)
    files = hub.repos["dataset", "org/triage"].files
    assert b"taken out" not in files["README.md"] and "redacted" not in json.loads(files["report.json"])


def test_what_somebody_else_put_there_meanwhile_is_not_written_over(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    code = f"""{TRY}
    from rebase_hf.publish.hub_repo import hub_api, send
    from rebase_hf.publish.prepared import Wishes, open_allowed, prepare_dataset
    api, wishes = hub_api(None), Wishes()
    push = prepare_dataset(api, open_allowed(sys.argv[1], wishes), "org/triage", wishes)
    api.create_repo("org/triage", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"# Theirs", path_in_repo="README.md", repo_id="org/triage", repo_type="dataset")
    result = outcome(send, api, push)
    """
    assert "Somebody else filled org/triage meanwhile" in on_hub(code, run)
    assert hub.repos["dataset", "org/triage"].files["README.md"] == b"# Theirs"


def test_answers_that_were_kept_before_stay_beside_later_ones(
    hub: HubServer, on_hub: OnHub, run: Path, tmp_path: Path
) -> None:
    code = f"""{TRY}
    from pathlib import Path
    import asyncio
    from rebase_hf.publish.hub import keep_run
    from rebase_hf.rows import Completion
    from rebase_hf.teacher.journal import Journal
    from rebase_hf.teacher.journal_copies import copy_answers
    def journal(name):
        path = Path({str(tmp_path)!r}) / f"{{name}}.sqlite"
        held = Journal.open(path)
        asyncio.run(held.put(name, {{}}, Completion(name, "an answer", "stop", "teacher")))
        held.close()
        copied = path.with_suffix(".copy")  # as a job copies it: one file, which nothing writes to
        copy_answers(path, copied)
        return copied
    for answers in (journal("first"), journal("second"), None):
        keep_run(Path(sys.argv[1]), "org/kept-run", journal=answers, go_on="rebase-hf push")
    """
    on_hub(f"{code}\n    result = None", run)
    kept = tmp_path / "kept.sqlite"
    kept.write_bytes(hub.repos["dataset", "org/kept-run"].files["journal.sqlite"])
    with closing(sqlite3.connect(kept)) as connection:
        assert sorted(key for (key,) in connection.execute("SELECT key FROM answers")) == ["first", "second"]
