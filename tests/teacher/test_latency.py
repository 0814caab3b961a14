"""How long answers took: counted as they come, over processes, and never for what the journal knew."""

import random
import time

import pytest

from rebase_hf import Teacher
from rebase_hf.pipeline import Run, make_plan
from rebase_hf.run_report import run_report
from rebase_hf.spending import total_used
from rebase_hf.teacher.asking import Usage
from rebase_hf.teacher.latency import add_durations, latency_report, note_duration
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer


def test_percentiles_are_right_to_5_percent_whatever_the_scale():
    rng = random.Random(0)
    for scale in (0.01, 1.0, 90.0):
        taken = sorted(rng.lognormvariate(0, 1) * scale for _ in range(2000))
        counts: dict[str, int] = {}
        for seconds in taken:
            note_duration(counts, seconds)
        told = latency_report(counts)
        assert told["answers"] == 2000 and len(counts) < 100
        for name, place in (("p50", 999), ("p90", 1799), ("p99", 1979)):
            assert told[name] == pytest.approx(taken[place], rel=0.05)


def test_counts_of_processes_add_up_and_nothing_is_told_of_none():
    one, other = {"3": 2, "10": 1}, {"10": 4}
    assert add_durations(one, other) == {"3": 2, "10": 5} and one == {"3": 2, "10": 1}
    first = total_used({}, Usage(requests=3, durations=one), {}, "a")
    second = total_used(first, Usage(requests=4, durations=other), {}, "b")
    assert second["durations"] == {"3": 2, "10": 5} and second["session"]["durations"] == other
    assert latency_report({}) is None
    note_duration(counts := {}, 0.0)
    assert latency_report(counts) == {"answers": 1, "p50": 0.00104, "p90": 0.00104, "p99": 0.00104}


def test_a_run_reports_how_long_its_answers_took_and_not_those_of_the_journal(home, triage, bank_index):
    def slow(request, call):
        time.sleep(0.2)
        return desk_answer(request, call)

    def report_of(num_examples):
        run = Run(make_plan(triage, bank_index, Teacher(server.url, max_concurrency=4), num_examples=num_examples))
        examples = [example.to_record() for example in run.examples()]
        return examples, run_report(run, command="test", num_validation=0)

    with TGIServer(answer=slow) as server:
        examples, report = report_of(6)
        assert report["latency"]["answers"] == report["requests"] and 0.19 <= report["latency"]["p50"] < 2
        again, other = report_of(6)  # a finished run, read again: what it took stays told
        assert again == examples and other["latency"] == report["latency"]
        longer = report_of(8)[1]
    assert longer["from_journal"] > 0
    assert longer["latency"]["answers"] == longer["requests"] == longer["asked"] - longer["from_journal"]
