"""docs/retrieval.md: its figures are those of the results; and what is counted of a list is what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.retrieval_families import FAMILIES
from benchmarks.retrieval_lists import LISTS, PublishedScores, taken_list
from benchmarks.retrieval_measures import junk_kind, junk_of, leaks_of, repeats_of, same_cell_of, spread_of
from rebase_hf import RowIndex, Task
from rebase_hf.quality.contamination import EvaluationGuard
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder

ROOT = Path(__file__).parent.parent
TASK = {
    "name": "tone",
    "instruction": "Name the tone of what a guest says",
    "inputs": ["text"],
    "output": "tone",
    "labels": {"kind": "friendly", "rude": "unfriendly"},
    "examples": [{"text": "Thanks a lot for the room!", "tone": "kind"}, {"text": "Get lost.", "tone": "rude"}],
}
HELD_OUT = [{"text": "The breakfast in your hotel was really lovely.", "tone": "kind"}]
ROWS = {
    "guests": [
        {"said": "Thanks a lot for the lovely room with a view", "ok": "True"},
        {"said": "Thanks a lot for the lovely room with a view", "ok": "False"},
        {"said": "So. The breakfast in your hotel was really lovely. Bye.", "ok": "True"},
    ],
    "letters": [{"body": "Get lost, all of you, and take the dog", "number": 12}],
    "tone": [{"text": "What a nice day it is in town"}],
}


@pytest.fixture
def index(tmp_path):
    sources = [write_source(tmp_path / name, rows) for name, rows in ROWS.items()]
    return RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder(), licenses="any")


def test_the_figures_are_those_of_the_results():
    subprocess.run([sys.executable, "-m", "benchmarks.retrieval_figures", "--check"], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("True", "boolean"), ("None", "boolean"), ("yes", "yes_no"), ("No", "yes_no"), ("12", "number")),
        *(("3.5%", "number"), ("Q42", "id"), ("train-0007", "id"), ("ab", "short"), ("", "short")),
        *(("dog", None), ("12 dogs", None), ("Was it 1984?", None)),
    ],
)
def test_junk_is_told(text, kind):
    assert junk_kind(text) == kind


def test_a_list_is_counted(index):
    task, encoder = Task.load(TASK), HashingEncoder()
    guard = EvaluationGuard(task, HELD_OUT)
    official = taken_list(task, index, guard, LISTS["official"], 10)
    assert sorted(official.keys) == sorted(PublishedScores(index, encoder).top(task, 10))
    assert spread_of(official)["sources"] == 2
    assert 1 < spread_of(official)["effective"] < 2
    assert repeats_of(official, encoder)["same_input"] == 0.25
    assert leaks_of(official, index, guard, HELD_OUT, task.inputs) == {"guard": 1, "equal": 1}
    ours = taken_list(task, index, guard, LISTS["ours"], 10)
    assert leaks_of(ours, index, guard, HELD_OUT, task.inputs) == {"guard": 0, "equal": 0}
    assert junk_of(ours)["junk"] == 0
    assert same_cell_of(ours) == 1  # no row has a second cell that says anything
    assert len(ours.rows) == 2


def test_the_formulas_alone_rank_as_the_option_does(index):
    task = Task.load(TASK)
    taken = taken_list(task, index, EvaluationGuard(task, []), LISTS["official"], 10)
    assert taken.keys == PublishedScores(index, HashingEncoder()).top(task, len(taken.keys))
    assert all(FAMILIES.values())
