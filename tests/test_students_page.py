"""docs/students.md: its figures and its picture are those of the results."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.claims import Line
from benchmarks.students_checks import verdicts
from benchmarks.students_curve import LINES, curves_picture

ROOT = Path(__file__).parent.parent


def test_the_figures_are_those_of_the_results():
    subprocess.run([sys.executable, "-m", "benchmarks.students_figures", "--check"], check=True, cwd=ROOT)


def test_a_page_that_says_something_else_is_told(tmp_path):
    page = tmp_path / "students.md"
    page.write_text((ROOT / "docs" / "students.md").read_text().replace("| clinc20_oos |", "| clinc21_oos |", 1))
    for picture in (ROOT / "docs").glob("*.svg"):
        (tmp_path / picture.name).write_text(picture.read_text())
    command = [sys.executable, "-m", "benchmarks.students_figures", "--document", str(page)]
    asked = subprocess.run([*command, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert asked.returncode == 1 and "python -m benchmarks.students_figures" in asked.stderr
    subprocess.run(command, check=True, cwd=ROOT)
    assert page.read_text() == (ROOT / "docs" / "students.md").read_text()


def test_the_picture_has_a_line_for_each_curve():
    one = {"answers": [50, 100, 150], "mean": [0.1, 0.2, 0.3]}
    picture = curves_picture({"a": dict.fromkeys(LINES, one), "b": dict.fromkeys(LINES, one)})
    lines = [part for part in ElementTree.fromstring(picture).iter() if part.tag.endswith("polyline")]
    assert len(lines) == 3 * len(LINES)  # of two tasks and the key
    assert all(len(line.get("points").split()) == 3 for line in lines[: 2 * len(LINES)])


def checked(name: str, mean: float, error: float) -> Line:
    scores = {who: {"mean": 0.5} for who in ("raw", "random", "published")}
    return Line(
        f"checks.{name}", name, "", details={"scores": scores, "differences": {"raw": {"mean": mean, "error": error}}}
    )


def test_a_task_is_behind_where_it_lies_more_than_two_errors_below():
    average, behind = verdicts([checked("a", 0.02, 0.01), checked("b", -0.01, 0.006), checked("c", -0.03, 0.01)])
    assert (average.met, behind.met, behind.shown) == (False, False, "c")
    average, behind = verdicts([checked("a", 0.02, 0.01), checked("b", -0.01, 0.006)])
    assert (average.met, behind.met, behind.shown) == (True, True, "none")


def test_all_results_are_on_the_page():
    told = {json.loads(path.read_text())["name"] for path in (ROOT / "benchmarks" / "results").glob("students_*.json")}
    assert told == {
        "students_checks",
        "students_development",
        "students_few_shot",
        "students_active",
        "students_overhead",
    }
