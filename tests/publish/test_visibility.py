"""What may be seen by everybody, and under which licence the teacher is: told by the Hub double."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub_server import HubServer
from tests.publish.example_run import make_report, make_rows, write_run
from tests.publish.test_hub import TRY

OnHub = Callable[..., Any]
MAIL = "acme/helpdesk-mail"


@pytest.mark.parametrize(("how", "said"), [({"gated": "auto"}, "gated"), ({"private": True}, "private")])
def test_private_by_default_where_a_source_is_not_open(hub: HubServer, on_hub: OnHub, run: Path, how, said) -> None:
    for name, value in how.items():
        setattr(hub.repos["dataset", MAIL], name, value)
    code = f"""{TRY}
    import logging, io
    log = io.StringIO()
    logging.basicConfig(stream=log, format="%(message)s")
    push_dataset(sys.argv[1], "org/triage")
    push_student(sys.argv[1], "org/student", dataset_id="org/triage")
    push_dataset(sys.argv[1], "org/open", private=False)
    result = [log.getvalue(), outcome(push_dataset, sys.argv[1], "org/open")]
    """
    log, refused = on_hub(code, run)
    assert f"org/triage is made private ({said}: {MAIL})" in log and "--public says otherwise" in log
    assert "org/open is public, as you say" in log
    assert hub.repos["dataset", "org/triage"].private and hub.repos["model", "org/student"].private
    assert not hub.repos["dataset", "org/open"].private
    assert "org/open is there already and public" in refused and said in refused


def test_a_source_that_is_gone_counts_as_private_and_open_ones_do_not(
    hub: HubServer, on_hub: OnHub, run: Path
) -> None:
    code = f"{TRY}\n    result = push_dataset(sys.argv[1], sys.argv[2])"
    on_hub(code, run, "org/open")
    assert not hub.repos["dataset", "org/open"].private
    del hub.repos["dataset", MAIL]
    on_hub(code, run, "org/gone")
    assert hub.repos["dataset", "org/gone"].private


def test_own_rows_under_no_stated_licence_stay_private(hub: HubServer, on_hub: OnHub, tmp_path: Path) -> None:
    rows = make_rows("teacher")
    own = {"dataset": "support-triage", "config": None, "split": "train", "revision": None, "row": 1, "license": None}
    for row in rows:
        row["sources"].append({"role": "seed", **own})
    on_hub(f"{TRY}\n    result = push_dataset(sys.argv[1], 'org/own')", write_run(tmp_path / "run", rows))
    assert hub.repos["dataset", "org/own"].private


def with_teacher(folder: Path, **changes: Any) -> Path:
    teacher = {"target": "https://api.lab.net", "model": "lab/big", "revision": None, "kind": "endpoint"}
    return write_run(folder, teacher=teacher | {"license": None} | changes)


CARD = "---\nlicense: {}\n---\n# A model\n"


@pytest.mark.slow
def test_a_teachers_licence_is_read_off_its_card_or_the_flag(hub: HubServer, on_hub: OnHub, tmp_path: Path) -> None:
    run = with_teacher(tmp_path / "run")
    code = f"""{TRY}
    result = outcome(push_dataset, sys.argv[1], "org/triage", teacher_license=json.loads(sys.argv[2]))
    """
    on_hub(code, run, "null")
    card = hub.repos["dataset", "org/triage"].files["README.md"].decode()
    assert "Teacher: `lab/big`. Its licence is unknown." in card and "**The teacher's terms.**" in card
    hub.add_repo("lab/big", {"README.md": CARD.format("mit")}, repo_type="model")
    on_hub(code, run, "null")
    repo = hub.repos["dataset", "org/triage"]
    assert "Licence: `mit`, as its card says." in repo.files["README.md"].decode()
    assert '"license_from": "card"' in repo.files["report.json"].decode()
    hub.add_repo("lab/big", {"README.md": CARD.format("cc-by-nc-4.0")}, repo_type="model")
    assert "cc-by-nc-4.0: the teacher" in on_hub(code, run, "null")
    assert on_hub(code, run, '"mit"').endswith("/datasets/org/triage")
    assert "as its publisher says" in hub.repos["dataset", "org/triage"].files["README.md"].decode()
    assert "the Hub knows no such licence" in on_hub(code, run, '"mitt"')


def test_what_the_run_recorded_of_the_teacher_is_not_looked_up(hub: HubServer, on_hub: OnHub, tmp_path: Path) -> None:
    run = with_teacher(tmp_path / "run", license="gemma", license_from="flag")
    rows = make_rows("teacher")
    for row in rows:
        row["provenance"]["license"] = row["sources"][0]["license"] = "mit"
    teacher = make_report(rows)["teacher"] | {"model": "lab/big", "kind": "endpoint", "license": "gemma"}
    run = write_run(tmp_path / "mit", rows, teacher=teacher)
    on_hub(f"{TRY}\n    result = push_dataset(sys.argv[1], 'org/triage')", run)
    repo = hub.repos["dataset", "org/triage"]
    assert repo.card(repo.head)["license"] == "gemma"
    assert not [request for request in hub.requests if "lab/big" in request.path]


def test_a_local_or_cached_card_tells_before_anything_is_asked(tmp_path: Path) -> None:
    from rebase_hf.publish.teacher_card import teacher_license
    from rebase_hf.teacher.asking import TeacherIdentity
    from rebase_hf.teacher.target import Teacher

    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: lab-research\n---\n")
    found = teacher_license(Teacher(f"local:{tmp_path}"), TeacherIdentity("big", "ab", "local"))
    assert (found.identifier, found.name, found.found) == ("other", "lab-research", "card")
    (tmp_path / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    assert teacher_license(Teacher(f"local:{tmp_path}"), TeacherIdentity("big", "ab", "local")).identifier is None
    here = teacher_license(Teacher("http://127.0.0.1:1"), TeacherIdentity("org/model", None, "endpoint"))
    assert here.identifier is None
