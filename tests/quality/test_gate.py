import json
import random
import time
from collections import Counter

import pytest

from rebase_hf.errors import TaskError
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.gate import Gate, check_steps
from rebase_hf.rows import Completion, Draft, Dropped, Example, Message, RetrievedRow, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed, answer_schema, parse_answer, shown_cells, transform_messages

TRIAGE = Task.load(
    {
        "name": "triage",
        "instruction": "Decide which team handles the message.",
        "labels": ["billing", "delivery"],
        "examples": [
            {"input": "I was charged twice for the same order in May and nobody answers.", "output": "billing"},
            {"input": "Where is my parcel? It was to arrive on Monday.", "output": "delivery"},
        ],
    }
)
QA = Task.load(
    {
        "name": "qa",
        "instruction": "Answer from the passage.",
        "inputs": ["passage", "question"],
        "output": "answer",
        "extractive": True,
        "examples": [{"passage": "The pool opens at nine.", "question": "When?", "answer": "at nine"}],
    }
)
COPY = Task.load({"name": "copy", "instruction": "Copy.", "examples": [{"input": "a", "output": "a"}]})
SOURCE = SourceRow("org/mails", "en", "train", "abc", 7, "mit", "https://hub.net/org/mails", {"text": "x"})
SHOT = SourceRow("org/shots", None, "train", None, 1, None, None, {"text": "y"})
DRAFT = Draft((Message("user", "?"),), None, row=RetrievedRow(SOURCE, 0.12345678), shots=(("shot", SHOT),))


def gate(task: Task = TRIAGE, *held: dict[str, str], num_examples: int = 10, **options: object) -> Gate:
    guard = EvaluationGuard(task, held)
    return Gate(task, guard, CheckOptions(**options), method="rebase", teacher="m", num_examples=num_examples)


def answer(text: str, label: str = "billing", *, confidence: float | None = None, number: int = 0):
    completion = Completion(f"key{number}", f"<{text}>", "stop", "m", confidence=confidence)
    return DRAFT, completion, Parsed({"input": text, "output": label})


def decide(gate: Gate, *args: object, **kwargs: object) -> str | Example:
    decided = gate.decide(*answer(*args, **kwargs))
    return decided.reason if isinstance(decided, Dropped) else decided


def test_a_good_answer_becomes_an_example_with_its_provenance():
    example = decide(gate(), "The invoice has a wrong total.", " Billing ")
    assert example.fields == {"input": "The invoice has a wrong total.", "output": "billing"}
    assert example.rationale is None
    assert example.provenance == {
        "dataset": "org/mails",
        "config": "en",
        "split": "train",
        "revision": "abc",
        "row": 7,
        "license": "mit",
        "url": "https://hub.net/org/mails",
        "score": 0.123457,
        "method": "rebase",
        "teacher": "m",
        "prompt_id": "key0",
    }
    assert [(source["role"], source["dataset"], source["row"]) for source in example.sources] == [
        ("context", "org/mails", 7),
        ("shot", "org/shots", 1),
    ]


def test_an_answer_about_no_row_has_a_provenance_of_nulls():
    draft = Draft((), None)
    example = gate().decide(draft, Completion("k", "", "stop", "m"), Parsed({"input": "Hello", "output": "billing"}))
    assert {name for name, value in example.provenance.items() if value is not None} == {
        "method",
        "teacher",
        "prompt_id",
    }
    assert example.sources == ()


def test_what_is_refused_keeps_what_a_person_needs():
    dropped = gate().decide(*answer("Hello", "refund"))
    assert dropped == Dropped(
        "checks", "label_not_in_task", "`refund` is not one of billing, delivery", DRAFT.row, "key0", "<Hello>"
    )
    record = dropped.to_record()
    assert (record["reason"], record["source"]["dataset"], record["score"]) == (
        "label_not_in_task",
        "org/mails",
        0.12345678,
    )
    json.dumps(record)
    assert "row" not in record


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("", "billing", "empty_field"),
        ("Hello", "refund", "label_not_in_task"),
        ("i was charged TWICE for the same order in may, and nobody answers", "delivery", "few_shot_copy"),
        ("I was charged twice for the same order in May and nobody replied.", "billing", "few_shot_copy"),
    ],
)
def test_a_reason_is_always_the_same_word(text, label, reason):
    assert decide(gate(), text, label) == reason


def test_an_extractive_answer_must_stand_in_an_input():
    fields = {"passage": "The ferry leaves at six.", "question": "When does it leave?", "answer": "at seven"}
    decided = gate(QA).decide(DRAFT, Completion("k", "", "stop", "m"), Parsed(fields))
    assert decided.reason == "answer_not_in_input"


def test_a_copy_names_the_example_that_it_repeats():
    first = TRIAGE.examples[0]
    task = Task.load(TRIAGE.to_dict() | {"examples": [dict(first), dict(first), *map(dict, TRIAGE.examples[1:])]})
    decided = gate(task).decide(*answer("Where is my parcel? It was to arrive on monday", "delivery"))
    assert decided.detail == "repeats example 3 of the task (similarity 1.00)"


def test_a_repeated_output_is_dropped_whatever_its_label():
    opened = gate()
    text = "The courier left the parcel in the rain and the books are ruined."
    assert isinstance(decide(opened, text, "delivery"), Example)
    assert decide(opened, text.upper(), "billing") == "duplicate_output"
    assert decide(opened, text.replace("ruined", "soaked"), "delivery") == "duplicate_output"


def test_a_refused_answer_stands_in_nobodys_way():
    opened = gate()
    assert decide(opened, "My refund has not come yet.", "refund") == "label_not_in_task"
    assert isinstance(decide(opened, "My refund has not come yet.", "billing"), Example)


@pytest.mark.parametrize(("near", "reasons"), [(0.6, 2), (1.0, 1), (None, 0)])
def test_near_duplicates_can_be_switched(near, reasons):
    opened = gate(near_duplicates=near)
    text = "The courier left the parcel in the rain and the books are ruined."
    decided = [decide(opened, text), decide(opened, text), decide(opened, text.replace("ruined", "soaked"))]
    assert decided.count("duplicate_output") == reasons


def test_two_questions_about_one_passage_are_no_duplicates():
    opened = gate(QA)
    passage = "The lighthouse was built in 1871 by two brothers, and painted red and white by their sons."
    asked = [("When was the lighthouse built?", "1871"), ("Which colours did the sons choose?", "red and white")]
    for question, text in asked:
        fields = Parsed({"passage": passage, "question": question, "answer": text})
        assert isinstance(opened.decide(DRAFT, Completion("k", "", "stop", "m"), fields), Example)
    repeated = Parsed({"passage": passage, "question": "When was the lighthouse built", "answer": "1871"})
    assert opened.decide(DRAFT, Completion("k", "", "stop", "m"), repeated).reason == "duplicate_output"


@pytest.mark.parametrize(("a", "b"), [("3 + 4", "3 * 4"), ("-7 + 2", "7 + 2"), ("[ { (", "( { ["), ("x > y", "x < y")])
def test_formulas_that_differ_in_a_sign_are_no_duplicates(a, b):
    opened = gate(COPY)
    assert isinstance(decide(opened, a), Example)
    assert isinstance(decide(opened, b), Example)
    assert decide(opened, f"{a} ") == "duplicate_output"


def test_what_all_examples_share_makes_no_duplicates():
    head = "Decide whether the following expression is true or false, and answer with one of these two words only: "
    task = Task.load(
        {
            "name": "bool",
            "instruction": "Decide.",
            "examples": [{"input": head + text, "output": "x"} for text in ("not ( True )", "True and False or True")],
        }
    )
    opened = gate(task)
    texts = [head + text for text in ("False or not False", "True or not ( True and False )", "not not True")]
    assert all(isinstance(decide(opened, text), Example) for text in texts)
    assert decide(opened, head + "not not true.") == "duplicate_output"


HELD = {
    "input": "The blue kettle that I ordered for my mother's birthday came without its lid on Friday.",
    "output": "delivery",
}


@pytest.mark.parametrize(
    "text",
    [
        HELD["input"],
        "Hello! the blue kettle that I ordered for my mother's birthday came without its lid",
        HELD["input"].replace("blue", "red"),
    ],
)
def test_an_output_that_gives_evaluation_rows_away_is_dropped(text):
    assert decide(gate(TRIAGE, HELD), text, "delivery") == "in_evaluation_set"
    assert isinstance(decide(gate(TRIAGE, HELD, guard_evaluation=False), text, "delivery"), Example)
    assert isinstance(decide(gate(TRIAGE), text, "delivery"), Example)


def test_nearly_an_evaluation_row_is_dropped_however_outputs_are_compared():
    text = HELD["input"].replace("mother's", "father's")
    for near in (0.6, 1.0, None):
        assert decide(gate(TRIAGE, HELD, near_duplicates=near), text, "delivery") == "in_evaluation_set"


def test_a_short_evaluation_text_is_dropped_where_it_is_all():
    opened = gate(TRIAGE, {"input": "So late!", "output": "delivery"})
    assert decide(opened, "so late", "delivery") == "in_evaluation_set"
    assert isinstance(decide(opened, "It came so late again", "delivery"), Example)


def test_an_evaluation_output_is_dropped_where_outputs_are_written():
    opened = gate(COPY, {"input": "something", "output": "Ferry cancelled as storm tears mooring ropes"})
    decided = opened.decide(*answer("A storm came.", "Ferry cancelled as storm tears mooring ropes!"))
    assert decided.reason == "in_evaluation_set"


def test_an_answer_that_the_teacher_is_unsure_of_is_dropped():
    opened = gate(min_confidence=0.6)
    assert decide(opened, "The invoice is wrong.", confidence=0.59) == "low_confidence"
    assert isinstance(decide(opened, "The invoice is wrong.", confidence=0.6), Example)
    assert isinstance(decide(opened, "Where is it?", confidence=None), Example)
    assert isinstance(decide(gate(), "Where is it?", confidence=0.0), Example)


def test_only_the_surest_share_of_each_label_passes():
    opened = gate(confident_share=0.5, near_duplicates=None)
    sure = [0.5, 0.4, 0.6, 0.55, 0.7]
    decided = [decide(opened, f"Text {i}", confidence=c) for i, c in enumerate(sure)]
    assert [one if isinstance(one, str) else "example" for one in decided] == [
        "example",
        "low_confidence",
        "example",
        "example",
        "example",
    ]
    assert isinstance(decide(opened, "Another", "delivery", confidence=0.1), Example)


def test_no_label_takes_more_than_its_share():
    opened = gate(num_examples=4, label_share=0.5, near_duplicates=None)
    decided = [decide(opened, f"Text {i}", "billing") for i in range(3)] + [decide(opened, "Text 3", "delivery")]
    assert [one if isinstance(one, str) else "example" for one in decided] == [
        "example",
        "example",
        "label_full",
        "example",
    ]


def answers(count: int) -> list[tuple[Draft, Completion, Parsed]]:
    chance = random.Random(3)
    things = ["kettle", "lamp", "chair", "book", "phone"]
    made = []
    for number in range(count):
        a, b, c = (chance.choice(things) for _ in range(3))
        text = f"The {a} that I ordered with the {b} has not come yet, please tell me where my {c} is."
        label = chance.choice(["billing", "delivery", "refund"])
        made.append(answer(text, label, confidence=chance.random(), number=number))
    return made


def test_the_same_answers_in_the_same_order_are_decided_the_same():
    made = answers(60)
    options = {"label_share": 0.3, "min_confidence": 0.2}
    first, second = (
        [opened.decide(*one) for one in made] for opened in (gate(TRIAGE, HELD, **options) for _ in range(2))
    )
    assert first == second
    reasons = Counter(one.reason if isinstance(one, Dropped) else "example" for one in first)
    assert sum(reasons.values()) == 60
    assert set(reasons) <= {"example", "duplicate_output", "label_not_in_task", "low_confidence", "label_full"}
    assert reasons["example"] > 1


def test_of_two_that_repeat_each_other_the_first_in_rank_wins():
    texts = ["The courier left the parcel in the rain and the books are ruined."]
    texts.append(texts[0].replace("ruined", "soaked"))
    for order in (texts, texts[::-1]):
        opened = gate()
        assert isinstance(decide(opened, order[0]), Example)
        assert decide(opened, order[1]) == "duplicate_output"


def test_deciding_and_rendering_cost_little():
    """Both together stay well under a millisecond a row; 3 are allowed, because tests share their cores."""
    chance = random.Random(0)
    vocabulary = [f"word{i}" for i in range(3000)]
    texts = [" ".join(chance.choices(vocabulary, k=60)) for _ in range(300)]
    held = [{"input": " ".join(chance.choices(vocabulary, k=30)), "output": "billing"} for _ in range(500)]
    opened = gate(TRIAGE, *held, num_examples=1000)
    began = time.process_time()
    for number, text in enumerate(texts):
        source = SourceRow("org/mails", None, "train", None, number, None, None, {"text": text, "kind": "mail"})
        row = RetrievedRow(source, 0.5, columns={"input": "text", "output": "kind"})
        draft = Draft(transform_messages(TRIAGE, row, cells=shown_cells(row)), answer_schema(TRIAGE), row=row)
        parsed = parse_answer(TRIAGE, json.dumps({"input": text, "output": "billing"}))
        assert isinstance(opened.decide(draft, Completion("k", "", "stop", "m"), parsed), Example)
    spent = (time.process_time() - began) / len(texts)
    print(f"{1000 * spent:.3f} ms a row")  # noqa: T201
    assert spent < 0.003


@pytest.mark.parametrize(
    "wrong",
    [{"length_factor": 0.5}, {"near_duplicates": 1.5}, {"semantic_duplicates": -1}, {"similar_to_evaluation": 2}],
)
def test_a_number_out_of_its_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(TaskError, match=rf"CheckOptions: {name} is .*; expected . to (1|inf), or None"):
        CheckOptions(**wrong)


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("I'm sorry, but I can't help with that request.", {"refusals": False}, "teacher_declined"),
        ("Where is it? " * 60, {"length_factor": None}, "too_long"),
        ("Hm", {"length_factor": None}, "too_short"),
        ("Wo ist das Paket, das ich vor einer Woche bei Ihnen bestellt habe?", {"language": False}, "other_language"),
    ],
)
def test_what_an_answer_alone_is_refused_for_can_be_switched_off(text, options, reason):
    assert decide(gate(), text) == reason
    assert isinstance(decide(gate(**options), text), Example)


def test_what_is_refused_alone_is_not_remembered():
    opened = gate()
    text = "I'm sorry, but I can't help with that request."
    assert [decide(opened, text), decide(opened, text)] == ["teacher_declined"] * 2


def test_further_sets_are_guarded_without_rows_of_the_task_s_own():
    guard = EvaluationGuard(TRIAGE, [], [[{"question": "Is the blue lamp in the parcel?"}]])
    opened = Gate(TRIAGE, guard, CheckOptions(), method="rebase", teacher="m", num_examples=10)
    assert decide(opened, "Hello! Is the blue lamp in the parcel?") == "in_evaluation_set"
    idle = {step.name: step.idle for step in check_steps(TRIAGE, CheckOptions(), guarded=False, sure=False)}
    assert idle["in_evaluation_set"] == "there is no evaluation set"
    named = CheckOptions(evaluation_sets="org/set")
    idle = {step.name: step.idle for step in check_steps(TRIAGE, named, guarded=False, sure=False)}
    assert idle["in_evaluation_set"] is None
