"""Licences are told before anything is paid, and the teacher's is kept in the report."""

import json
import logging
from pathlib import Path

import pytest

from rebase_hf import RowIndex
from rebase_hf.cli.licensing import licenses_before_paying, record_teacher_license
from rebase_hf.errors import PublishError
from rebase_hf.plan import Plan, make_plan
from tests.index.hashing_encoder import HashingEncoder
from tests.publish.example_run import write_run


def plan_of(tmp_path: Path, triage, *licenses: str | None) -> Plan:
    """A plan over sources of these licences; None for one whose card names none."""
    sources = []
    for number, name in enumerate(licenses):
        folder = tmp_path / f"bank-{number}"
        folder.mkdir()
        (folder / "README.md").write_text("# A bank\n" if name is None else f"---\nlicense: {name}\n---\n# A bank\n")
        rows = [{"text": f"Where is parcel {number}{i}?"} for i in range(5)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources.append(str(folder))
    index = RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder(), licenses="any")
    return make_plan(triage, index, "few-shot", num_examples=3)


def test_an_index_with_rows_of_unknown_licence_refuses_push_to_before_anything_is_asked(
    tmp_path, triage, home, caplog
) -> None:
    plan = plan_of(tmp_path, triage, "mit", None)
    with pytest.raises(PublishError, match=r"unknown licence: bank-1.*rebase-hf index remove index bank-1"):
        licenses_before_paying(plan, None, push_to="org/triage")
    with caplog.at_level(logging.WARNING):
        licenses_before_paying(plan, None)
    assert "unknown licence: bank-1" in caplog.text


def test_licences_that_do_not_fit_together_are_told_and_open_ones_are_not(tmp_path, triage, home, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        licenses_before_paying(plan_of(tmp_path, triage, "odbl", "cc-by-sa-4.0"), None, push_to="org/triage")
    assert "can't be combined" in caplog.text
    caplog.clear()
    (tmp_path / "open").mkdir()
    with caplog.at_level(logging.WARNING):
        told = licenses_before_paying(plan_of(tmp_path / "open", triage, "mit", "cc-by-4.0"), "gemma", push_to="o/t")
    assert told.identifier == "gemma" and "published" not in caplog.text


def test_the_teachers_licence_can_be_written_into_a_report(tmp_path) -> None:
    run = write_run(tmp_path / "run", teacher={"target": "http://x", "model": "lab/big", "kind": "endpoint"})
    record_teacher_license(run, "llama3.1")
    teacher = json.loads((run / "report.json").read_text())["teacher"]
    assert (teacher["model"], teacher["license"], teacher["license_from"]) == ("lab/big", "llama3.1", "flag")
    with pytest.raises(PublishError, match="did you mean `llama3.1`"):
        record_teacher_license(run, "llama-3.1")
