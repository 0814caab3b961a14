import json
import random
import subprocess
import sys

import pytest

from rebase_hf import RowIndex, Teacher
from rebase_hf.cli.training import _when_to_read
from rebase_hf.errors import TaskError
from rebase_hf.estimate import estimate_run
from rebase_hf.methods.adaptive import (
    AdaptiveDecision,
    choose_popularity_threshold,
    choose_threshold,
)
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.run_report import check_identities, run_report
from tests.doubles.harbour import asked_for, harbour_task, tagged
from tests.doubles.tgi_server import TGIServer
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.methods.conftest import made_word


def rule_accuracy(decision, values, correct_with, correct_without):
    used = [decision.uses_context(value) for value in values]
    right = [w if u else wo for u, w, wo in zip(used, correct_with, correct_without, strict=True)]
    return sum(right) / len(right), sum(used) / len(used)


def test_context_is_used_from_the_similarity_on_that_it_helps_from():
    decision = choose_threshold([0.1, 0.2, 0.6, 0.8], [False, False, True, True], [True, True, False, False])
    assert (decision.use, decision.threshold, decision.accuracy) == ("above", pytest.approx(0.4), 1.0)
    assert (decision.always, decision.never) == (0.5, 0.5)
    assert (decision.retrieved, decision.calls_saved) == (0.5, 0.5)
    assert [decision.uses_context(value) for value in (0.1, 0.39, 0.41, 0.9)] == [False, False, True, True]
    assert [(p.threshold, p.accuracy, p.retrieved) for p in decision.curve] == [
        (None, 0.5, 1.0),
        (pytest.approx(0.15), 0.75, 0.75),
        (pytest.approx(0.4), 1.0, 0.5),
        (pytest.approx(0.7), 0.75, 0.25),
        (None, 0.5, 0.0),
    ]


def test_always_and_never_are_rules_too_and_the_one_that_retrieves_less_wins_a_tie():
    values, yes, no = [0.1, 0.5, 0.9], [True] * 3, [False] * 3
    assert choose_threshold(values, yes, no).use == "always"
    assert choose_threshold(values, no, yes).use == "never"
    equal = choose_threshold(values, yes, yes)
    assert (equal.use, equal.threshold, equal.calls_saved) == ("never", None, 1.0)
    partly = choose_threshold(values, [False, True, True], [False, True, False])
    assert partly.threshold == pytest.approx(0.7) and partly.retrieved == pytest.approx(1 / 3)


def test_equal_values_are_never_separated():
    decision = choose_threshold([0.5] * 4, [True, True, False, False], [False, False, True, False])
    assert [point.threshold for point in decision.curve] == [None, None]
    assert decision.use == "always"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("use", ["above", "below"])
def test_no_other_threshold_is_better_and_the_curve_says_what_its_rules_do(seed, use):
    chance = random.Random(seed)
    count = chance.randrange(1, 40)
    values = [round(chance.random(), 1) for _ in range(count)]
    right = [[chance.random() < 0.5 for _ in range(count)] for _ in "ab"]
    decision = choose_threshold(values, *right, use=use, draws=5)
    assert rule_accuracy(decision, values, *right) == (
        pytest.approx(decision.accuracy),
        pytest.approx(decision.retrieved),
    )
    rivals = [-1.0, 2.0, *values, *(value + 0.01 for value in values)]
    for rival in rivals:
        taken = [(value >= rival) == (use == "above") for value in values]
        accuracy = sum(w if t else wo for t, w, wo in zip(taken, *right, strict=True)) / count
        assert (accuracy, -sum(taken) / count) <= (decision.accuracy + 1e-9, 1e-9 - decision.retrieved) or (
            accuracy < decision.accuracy
        )


def test_the_papers_popularity_rule():
    """`thresh = argmax_i correct_ret[:i] + correct_param[i:]`, over bins of log popularity."""
    chance = random.Random(3)
    popularity = [10 ** chance.uniform(0, 6) for _ in range(400)]
    without = [chance.random() < (0.1 if p < 1000 else 0.8) for p in popularity]
    with_ = [chance.random() < 0.5 for _ in popularity]
    decision = choose_popularity_threshold(popularity, with_, without)
    assert decision.use == "below" and len(decision.curve) == 9 + 2
    assert 2.3 < decision.threshold < 3.7
    assert decision.uses_context(10) and not decision.uses_context(10**5)
    assert rule_accuracy(decision, popularity, with_, without)[0] == pytest.approx(decision.accuracy)
    assert decision.accuracy > max(decision.always, decision.never) + 0.1
    assert choose_popularity_threshold([0, 0, 0], [True] * 3, [False] * 3).use == "always"


def test_what_held_out_questions_tell_is_less_rosy_than_the_split_itself_and_goes_by_the_seed():
    chance = random.Random(5)
    values = [chance.random() for _ in range(40)]
    right = [[chance.random() < 0.5 for _ in values] for _ in "ab"]
    one, same, other = (choose_threshold(values, *right, seed=seed) for seed in (1, 1, 2))
    assert one == same and one.held_out != other.held_out
    assert one.held_out.accuracy < one.accuracy  # there is nothing to be found: the choice is noise
    assert one.held_out.accuracy_std > 0 and one.held_out.draws == 100
    clear = choose_threshold(values, [v > 0.5 for v in values], [v <= 0.5 for v in values])
    assert clear.held_out.accuracy > 0.9 > 0.7 > clear.held_out.always


def test_a_decision_survives_json():
    decision = choose_threshold([0.1, 0.2, 0.6], [False, True, True], [True, True, False])
    told = json.loads(json.dumps(decision.to_dict()))
    assert told["calls_saved"] == decision.calls_saved
    assert AdaptiveDecision.from_dict(told) == decision


@pytest.mark.parametrize("counts", [(0, 0, 0), (2, 1, 2), (1, 1, 2)])
def test_what_does_not_fit_together_is_refused(counts):
    with pytest.raises(TaskError, match="at least one"):
        choose_threshold([0.5] * counts[0], [True] * counts[1], [True] * counts[2])


def test_a_student_that_decides_by_it_loads_nothing_for_it():
    code = (
        "import sys, rebase_hf; before = set(sys.modules); import rebase_hf.methods.adaptive;"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "['rebase_hf']"


# --- KARD by a decision

ASKED = 44


def named(number):
    return [made_word(40 + number * 7 + i * 500) for i in range(4)]


def is_known(number):
    """Every other boat stands in the harbour book; of the rest the book has a namesake that moors elsewhere."""
    return number % 2 == 0


def boat_question(number):
    return {"question": " ".join(named(number)), "berth": "east quay" if is_known(number) else "north quay"}


def book():
    for number in range(ASKED):
        words = named(number)
        if is_known(number):
            yield {"entry": f"{' '.join(reversed(words))} east quay"}
        else:
            other = " ".join(made_word(2000 + number * 9 + i) for i in range(9))
            yield {"entry": f"{words[0]} {other} west quay"}


def harbour_master(request, call):
    """Says north quay, or what the first passage says; explains what it is asked to, in words of each draw's own."""
    key = asked_for(request)
    if key == "rationale":
        quay, draw = tagged(request, "answer")["berth"], random.Random(request["seed"])
        own = " ".join(made_word(draw.randrange(2700)) for _ in range(12))
        return json.dumps({"rationale": f"{own} says {tagged(request, 'question')['question']} is at the {quay}"})
    told = tagged(request, "explanation") or tagged(request, "passage") or {"": "north quay"}
    return json.dumps({key: " ".join(next(iter(told.values())).split()[-2:])})


@pytest.fixture(scope="module")
def logbook(tmp_path_factory):
    root = tmp_path_factory.mktemp("logbook")
    return RowIndex.build(root / "index", [write_source(root / "book", list(book()))], encoder=HashingEncoder())


@pytest.fixture
def boats(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(boat_question(i)) + "\n" for i in range(ASKED)))
    return harbour_task(train=str(path))


OPTIONS = {"adaptive": True, "development": 20, "rationales": 2}


def adaptive_plan(task, index, url, num_examples=100, **options):
    return make_plan(task, index, url, method="kard", num_examples=num_examples, options=OPTIONS | options)


def test_examples_have_passages_where_the_development_split_says_that_they_help(home, boats, logbook):
    with TGIServer(answer=harbour_master) as server:
        run = Run(adaptive_plan(boats, logbook, server.url))
        examples = list(run.examples())
        assert len(server.chat_requests) == 2 * 20 + 2 * 2 * 24
        report = run_report(run, command="", num_validation=0)
    check_identities(report)
    told = report["adaptive"]
    decision = AdaptiveDecision.from_dict(told)
    assert (decision.use, decision.rows, decision.accuracy) == ("above", 20, 1.0)
    assert decision.always < 1.0 > decision.never
    assert told["calls_saved"] == pytest.approx(1 - decision.retrieved) and len(told["curve"]) >= 3
    assert len(examples) == 48 and report["dropped_before"] == {"development_question": 20}
    for example in examples:
        rows = [source for source in example.sources if source["role"] == "passage"]
        assert bool(example.passages) == bool(rows) == (example.fields["berth"] == "east quay")


def test_the_popularity_of_what_is_asked_about_decides_where_a_column_tells_it(home, logbook, tmp_path):
    """The paper's rule: context for what is less popular than a threshold; nothing is looked up to decide."""
    rows = [boat_question(i) | {"views": 20 + i if is_known(i) else 90_000 + i} for i in range(ASKED)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with TGIServer(answer=harbour_master) as server:
        run = Run(adaptive_plan(harbour_task(train=str(path)), logbook, server.url, popularity_column="views"))
        examples = list(run.examples())
        report = run_report(run, command="", num_validation=0)
    told = report["adaptive"]
    assert (told["measure"], told["use"], told["accuracy"]) == ("popularity", "below", 1.0)
    assert 2 < told["threshold"] < 5 and 0 < told["calls_saved"] < 1 and len(told["curve"]) == 9 + 2
    assert report["method_options"]["popularity_column"] == "views"
    assert examples and all(bool(e.passages) == (e.fields["berth"] == "east quay") for e in examples)
    reading = _when_to_read(report)["reading"]
    assert (reading.threshold, reading.popularity_column) == (told["threshold"], "views")


def test_the_split_is_drawn_by_the_seed_and_asked_once(home, boats, logbook):
    with TGIServer(answer=harbour_master) as server:
        plan = adaptive_plan(boats, logbook, server.url, num_examples=6)
        assert estimate_run(plan).requests == 40 + 2 * 7
        list(Run(plan).execute())
        held = {tagged(r, "question")["question"] for r in server.chat_requests if tagged(r, "passage")}
        again = adaptive_plan(boats, logbook, server.url, num_examples=12)
        server.forget()
        list(Run(again).execute())
        assert not any(tagged(request, "passage") for request in server.chat_requests)
        other = make_plan(boats, logbook, server.url, method="kard", num_examples=6, options=OPTIONS, seed=1)
        list(Run(other).execute())
        drawn = {tagged(r, "question")["question"] for r in server.chat_requests if tagged(r, "passage")}
    assert len(held) == 20 and drawn and not drawn & held  # what both splits hold is in the journal


def test_without_the_option_nothing_is_decided(home, boats, logbook):
    with TGIServer(answer=harbour_master) as server:
        run = Run(adaptive_plan(boats, logbook, server.url, num_examples=10, adaptive=False, development=50))
        examples = list(run.examples())
        assert "adaptive" not in run_report(run, command="", num_validation=0)
    assert all(example.passages for example in examples)


def test_a_budget_that_ends_within_the_split_is_no_failure(home, boats, logbook):
    with TGIServer(answer=harbour_master) as server:
        plan = adaptive_plan(boats, logbook, Teacher(server.url, max_requests=15, max_concurrency=2), num_examples=4)
        from rebase_hf.errors import NoExamplesError

        with pytest.raises(NoExamplesError, match="budget"):
            list(Run(plan).examples())
        assert run_report(Run(plan), command="", num_validation=0)["adaptive"] is None
        assert len(list(Run(adaptive_plan(boats, logbook, server.url, num_examples=4)).examples())) == 4
        assert max(server.calls.values()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"development": 23}, "44 `train` rows"),
        ({"knowledge": False}, "nothing to decide"),
        ({"development": 5}, "10"),
        ({"popularity_column": "views"}, "`views`, and train row 0 of task .* has `question`, `berth`"),
        ({"popularity_column": "berth"}, "quay' in `berth`; expected a count"),
        ({"adaptive": False, "development": 50, "popularity_column": "views"}, "it needs `adaptive=true`"),
    ],
)
def test_a_split_that_can_not_be_made_is_refused(home, boats, logbook, options, message):
    with TGIServer() as server, pytest.raises(TaskError, match=message):
        adaptive_plan(boats, logbook, server.url, **options)
