"""docs/data-quality.md: its figures are those of the results; rows are drawn and read as it says."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.quality_figures import ASKED, ON_REQUEST
from benchmarks.quality_precision import line_of, stop_at_unread, weighted, wilson
from benchmarks.quality_reading import sample_text
from benchmarks.quality_removed import RunChecks, counted, in_all
from benchmarks.quality_runs import Answer, Run
from benchmarks.quality_samples import KEPT, Sampled, Sampler
from benchmarks.quality_verdicts import VERDICTS, Verdict, read_verdicts
from rebase_hf.task import Task
from tests.index.hashing_encoder import HashingEncoder

ROOT = Path(__file__).parent.parent
HELD = "The train to the coast was late again and nobody on the platform knew when it would leave."
TEXTS = {
    "a kind word": "Thank you so much for the warm meal and the dry coat.",
    "the same": "thank you so much, for the warm meal and the dry coat!",
    "nearly the same": "Thank you so much for the warm meal and the dry hat.",
    "of the test": f"He said: {HELD}",
    "the test": HELD.upper(),
    "refused": "I'm sorry, but I can't help with that request.",
    "another": "You are late, and you never even said that you were sorry.",
}


def task_at(folder: Path, name: str = "tone") -> Task:
    held = folder / "held.jsonl"
    held.write_text(json.dumps({"text": HELD, "tone": "rude"}) + "\n")
    examples = [{"text": "So kind of you!", "tone": "kind"}, {"text": "Get lost, all of you.", "tone": "rude"}]
    content = {"name": name, "instruction": "Name the tone.", "inputs": ["text"], "output": "tone"}
    return Task.load(content | {"labels": ["kind", "rude"], "examples": examples, "evaluation": {"path": str(held)}})


def run_of(task: Task, texts: list[str]) -> Run:
    answers = [Answer({"text": text, "tone": "kind"}, text == TEXTS["the test"], None) for text in texts]
    return Run(task.name, "made", (*answers, Answer({"text": "What is this?", "tone": "odd"}, None, None)), 0)


def sampled(task: Task, texts: list[str], sampler: Sampler) -> dict[str, list[Sampled]]:
    checks = RunChecks(task, HashingEncoder())
    sampler.gather(task, checks.guard, [checks(run_of(task, texts))])
    return sampler.drawn()


def test_the_figures_are_those_of_the_results():
    subprocess.run([sys.executable, "-m", "benchmarks.quality_figures", "--check"], check=True, cwd=ROOT)


def test_every_verdict_in_the_figures_is_one_that_was_read():
    lines = json.loads((ROOT / "benchmarks" / "results" / "quality_precision.json").read_text())["lines"]
    verdicts = read_verdicts()
    for line in lines:
        said = Counter(verdict.said for verdict in verdicts[line["key"]].values())
        assert [said[word] for word in ("right", "wrong", "unclear")] == [
            line["details"][word] for word in ("right", "wrong", "unclear")
        ]
    assert {line["key"] for line in lines} <= {*ASKED, KEPT} and set(ON_REQUEST) <= set(ASKED)


def test_a_verdict_is_short_and_holds_no_text(tmp_path):
    content = json.loads(VERDICTS.read_text())
    assert all(len(key) == 16 and int(key, 16) >= 0 for rows in content.values() for key in rows)
    bad = tmp_path / "read.json"
    bad.write_text(json.dumps({"kept": {"0" * 16: "wrong: it says what another row says"}}))
    with pytest.raises(SystemExit, match="at most 3 words"):
        read_verdicts(bad)
    bad.write_text(json.dumps({"kept": {"0" * 16: "good"}}))
    with pytest.raises(SystemExit, match="expected right, wrong, unclear"):
        read_verdicts(bad)


def test_a_row_is_drawn_with_what_it_repeats(tmp_path):
    drawn = sampled(task_at(tmp_path), list(TEXTS.values()), Sampler())
    one = {check: sorted(row.fields["text"] for row in rows) for check, rows in drawn.items()}
    assert one == {
        "duplicate_exact": [TEXTS["the same"]],
        "duplicate_near": [TEXTS["nearly the same"]],
        "evaluation_run": [TEXTS["of the test"]],
        "evaluation_equal": [TEXTS["the test"]],
        "teacher_declined": [TEXTS["refused"]],
        "label_not_in_task": ["What is this?"],
        KEPT: sorted([TEXTS["a kind word"], TEXTS["another"]]),
    }
    for check in ("duplicate_exact", "duplicate_near"):
        assert drawn[check][0].beside == (f"{TEXTS['a kind word']} → kind",)
    for check in ("evaluation_run", "evaluation_equal"):
        assert drawn[check][0].beside == (HELD,)
    shown = sample_text("duplicate_exact", drawn["duplicate_exact"])
    assert drawn["duplicate_exact"][0].digest in shown and f"BESIDE: {TEXTS['a kind word']}" in shown


def test_what_goes_is_counted(tmp_path):
    task = task_at(tmp_path)
    checks = RunChecks(task, HashingEncoder())
    line = counted(task, [checks(run_of(task, list(TEXTS.values())))])
    about = line.details
    assert (about["rows"], about["kept"], sum(about["removed"].values())) == (8, 2, 6)
    assert about["marked"] == {"rows": 1, "kept": 0, "others_found": 1}
    everything, marked = in_all([line])
    assert everything.shown == "6 of 8" and (marked.shown, marked.met) == ("0 of 1", True)


def test_tasks_take_turns_and_a_row_of_two_runs_is_drawn_once(tmp_path):
    sampler = Sampler(each=4)
    for name, count in (("many", 20), ("few", 1)):
        task = task_at(tmp_path, name)
        checks = RunChecks(task, HashingEncoder())
        texts = [f"Thank you for parcel {number}, it came." * 2 for number in range(count)]
        run = checks(run_of(task, texts))
        sampler.gather(task, checks.guard, [run, run])
    drawn = sampler.drawn()["kept"]
    assert Counter(row.task for row in drawn) == {"many": 3, "few": 1}
    assert len({row.digest for row in drawn}) == 4
    assert sampler.counts["kept"]["few"] == 2 and sampler.counts["kept"]["many"] > 2 * 3


def test_wilson():
    assert wilson(41, 50) == pytest.approx((0.6920, 0.9023), abs=1e-4)
    assert wilson(50, 50) == pytest.approx((0.9287, 1.0), abs=1e-4)
    assert wilson(0, 3)[0] == 0.0


def row_of(task: str, text: str) -> Sampled:
    return Sampled("too_long", task, {"text": text, "tone": "kind"}, "", ())


def test_an_unclear_row_counts_against_the_check_and_tasks_are_weighted_by_their_rows():
    read = [(row_of("a", "1"), Verdict("right", "")), (row_of("a", "2"), Verdict("unclear", "one word"))]
    read.append((row_of("b", "3"), Verdict("right", "")))
    assert weighted(read, {"a": 90, "b": 10}) == pytest.approx(0.55)
    line = line_of("too_long", read, {"a": 90, "b": 10})
    assert line.met is False and line.details["right"] == 2 and line.details["rows"] == 100
    assert line.details["why"] == {"one word": 1}
    assert line_of("hard_to_learn", read, {"a": 90, "b": 10}).met is None


def test_it_stops_where_a_row_has_no_verdict():
    row = row_of("a", "1")
    stop_at_unread({"too_long": [row]}, {"too_long": {row.digest: Verdict("right", "")}})
    with pytest.raises(SystemExit, match="Nobody has read 1 of too_long"):
        stop_at_unread({"too_long": [row]}, {"too_short": {row.digest: Verdict("right", "")}})
