"""benchmarks/README.md and bench-smoke: what is shown is what was measured, and what got worse is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.evidence import deciding, row_of
from benchmarks.evidence_texts import ABOUT, DECIDING
from benchmarks.index_peers import queries_at
from benchmarks.index_plot import recall_picture
from benchmarks.smoke import BOUNDS, worse
from benchmarks.smoke_ratios import SCRIPTS

ROOT = Path(__file__).parent.parent
RESULTS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "results").glob("*.json")}


def test_the_page_has_every_figure_with_its_command_and_date() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text()
    assert len(RESULTS) > 25
    for name, result in RESULTS.items():
        assert f"`{result['command']}`" in page, name
        assert all(row_of(line) in page for line in result["lines"]), name
    missed = [line for result in RESULTS.values() for line in result["lines"] if line["met"] is False]
    assert page.count("**missed**") == len(missed) > 0


def test_the_readme_shows_what_it_chose_and_counts_what_is_missed() -> None:
    table = deciding(RESULTS)
    assert len(table.splitlines()) == 2 + len(DECIDING) + 2
    lost = {name: {**RESULTS[name], "lines": []} if name == "retrieval" else RESULTS[name] for name in RESULTS}
    with pytest.raises(SystemExit, match="retrieval has no line 'sources'"):
        deciding(lost)


def test_a_result_without_a_text_is_told(tmp_path: Path) -> None:
    for name, result in RESULTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    asked = [sys.executable, "-m", "benchmarks.evidence", "--check", "--results", str(tmp_path)]
    assert subprocess.run(asked, cwd=ROOT).returncode == 0
    (tmp_path / "new_claim.json").write_text((tmp_path / f"{next(iter(ABOUT))}.json").read_text())
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "new_claim: either no result, or nothing about it" in done.stderr


def test_every_ratio_has_a_bound() -> None:
    bounds = json.loads(BOUNDS.read_text())
    assert bounds.keys() == {f"{script.name}.{name}" for script in SCRIPTS for name in script.ratios}
    assert {script.name for script in SCRIPTS} <= RESULTS.keys()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("teacher_throughput.of_bare", 0.46, None),
        ("teacher_throughput.of_bare", 0.44, "worse by half than 0.900"),
        ("teacher_kill.asked_again_of_in_flight", 1.4, None),
        ("teacher_kill.asked_again_of_in_flight", 1.6, "worse by half than 1.000"),
        ("index_build.around", 0.2, None),  # what may be nothing has some slack
        ("index_rows.disk_of_parquet", 1.0, "has no bound"),
    ],
)
def test_only_a_ratio_that_is_worse_by_half_fails(name: str, value: float, told: str | None) -> None:
    stored = {
        "teacher_throughput.of_bare": 0.9,
        "teacher_kill.asked_again_of_in_flight": 1.0,
        "index_build.around": 0.05,
    }
    said = worse(name, value, stored)
    assert said is None if told is None else told in str(said)


@pytest.mark.parametrize(("stored", "code", "runs"), [(1.0, 0, 1), (3.0, 1, 3)])
def test_what_is_worse_is_measured_again_before_it_fails(tmp_path: Path, stored: float, code: int, runs: int) -> None:
    kinds = ("recall_exact", "recall_near", "recall_semantic", "precision")
    bounds = {f"quality_duplicates.{kind}": 0.5 for kind in kinds} | {"quality_duplicates.recall_exact": stored}
    (tmp_path / "bounds.json").write_text(json.dumps(bounds))
    command = [sys.executable, "-m", "benchmarks.smoke", "--only", "quality_duplicates", "--bounds"]
    done = subprocess.run([*command, tmp_path / "bounds.json"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("quality_duplicates.recall_exact")) == (code, runs)
    assert ("worse by half than 3.000" in done.stderr) == (code == 1)


def test_queries_at_a_recall_lie_between_those_that_were_measured() -> None:
    points = [{"recall": 0.9, "queries": 400.0}, {"recall": 1.0, "queries": 100.0}]
    assert queries_at(points, 0.95) == pytest.approx(200.0)
    assert queries_at(points, 0.8) == 400.0
    assert queries_at(points[:1], 0.95) is None


def test_a_curve_that_finds_more_lies_further_right() -> None:
    curves = {"ours": [{"recall": 0.85, "queries": 1000.0}, {"recall": 0.99, "queries": 100.0}]}
    drawn = recall_picture(curves, {"ours": "our graph"})
    first, second = (part.split(",") for part in drawn.split('points="')[1].split('"')[0].split())
    assert float(first[0]) < float(second[0])
    assert float(first[1]) < float(second[1])
    assert "our graph" in drawn
