"""Rows as they are: nobody is asked."""

import pytest

from rebase_hf.errors import NoExamplesError, TaskError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan

TRIAGE = {
    "name": "desk",
    "instruction": "Which desk should answer this message?",
    "inputs": ["message"],
    "output": "desk",
    "labels": {"money": "a payment", "parcels": "where a parcel is"},
    "examples": [
        {"message": "I was charged twice for one order", "desk": "money"},
        {"message": "my parcel never came to the door", "desk": "parcels"},
    ],
}
SPANS = {
    "name": "names",
    "instruction": "Who is it about?",
    "inputs": ["text"],
    "output": "who",
    "extractive": True,
    "examples": [{"text": "Then Anna Berg sold the house", "who": "Anna Berg"}],
}


def run_of(task, index, number=10, teacher="none"):
    return Run(make_plan(task, index, teacher, method="retrieved", num_examples=number))


def test_rows_that_say_a_label_are_examples_and_others_are_counted(home, build):
    rows = [
        {"message": "I was charged three times for the same order", "desk": "MONEY"},
        {"message": "the parcel with my shoes never came", "desk": "parcels."},
        {"message": "where do I find the opening hours", "desk": "reception"},
    ]
    run = run_of(TRIAGE, build({"mail": rows}))
    examples = [example.fields for example in run.examples()]
    assert {fields["message"]: fields["desk"] for fields in examples} == {
        rows[0]["message"]: "money",
        rows[1]["message"]: "parcels",
    }
    tally = run.tally()
    assert tally.dropped_before == {"no_output_cell": 1} and tally.asked == 2 and tally.quarantined == {}
    assert run.usage()["requests"] == 0


def test_their_provenance_says_that_no_teacher_was_asked(home, build):
    run = run_of(TRIAGE, build({"mail": [{"message": "I was charged for an order twice", "desk": "money"}]}))
    (example,) = run.examples()
    assert example.provenance["teacher"] == "none" and example.provenance["method"] == "retrieved"
    assert example.provenance["dataset"] == "mail" and len(example.provenance["prompt_id"]) == 64
    assert [record.to_record() for record in run_of(TRIAGE, run.plan.index).examples()] == [example.to_record()]


def test_an_extractive_answer_must_stand_in_the_text(home, build):
    rows = [
        {"text": "Then Carl Lund bought the house", "who": "Carl Lund"},
        {"text": "And then it was sold again", "who": "Nobody at all"},
    ]
    run = run_of(SPANS, build({"deeds": rows}))
    assert [example.fields["who"] for example in run.examples()] == ["Carl Lund"]


def test_an_answer_stands_there_in_whole_words_and_first_of_all_in_a_column_of_answers(home, build):
    rows = [
        {"id": f"d-{i}", "title": "house", "text": text, "answers": {"text": answers, "start": [5]}}
        for i, (text, answers) in enumerate(
            [
                ("Then Carl Lund bought the house", ["Carl Lund", "Carl Lund"]),
                ("The house was sold in 1904 to Eva Dahl", ["1904"]),
                ("Carlsson had none of it and left yes", ["Carl", "yes", "e"]),
            ]
        )
    ]
    run = run_of(SPANS, build({"deeds": rows}))
    assert sorted(example.fields["who"] for example in run.examples()) == ["1904", "Carl Lund"]
    assert run.tally().dropped_before == {"no_output_cell": 1}


def spans_of(build, task, *rows):
    run = run_of(task, build({"rows": list(rows)}))
    return [example.fields[task["output"]] for example in run.examples()]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("私は東京に住んでいます", "東京"),
        ("The EU has a court", "EU"),
        ("It was in 1904, in May", "1904"),
        ("I paid $5 (net)", "$5"),
    ],
)
def test_what_a_column_of_answers_says_is_taken_whatever_its_form(home, build, text, answer):
    assert spans_of(build, SPANS, {"text": text, "answers": {"start": [3], "text": [answer]}}) == [answer]


def test_a_column_called_as_the_output_is_an_answer(home, build):
    dated = SPANS | {"output": "date", "examples": [{"text": "It was sold on 3 March", "date": "3 March"}]}
    assert spans_of(build, dated, {"text": "We meet on 14 May in Nora", "date": "14 May", "title": "Nora"}) == [
        "14 May"
    ]


def test_a_line_of_a_note_is_no_answer(home, build):
    row = {"text": "Then Carl Lund bought the mill", "note": "about\nthe mill\nand more", "answer": "Carl Lund"}
    other = row | {"text": "Then Ida Ek bought the mill", "answer": "nobody of that name"}
    assert spans_of(build, SPANS, row, other) == ["Carl Lund"]


def test_a_row_that_could_not_be_used_keeps_no_other_out(home, build):
    row = {"passage": PASSAGE, "question": "Who bought the mill?"}
    answers = ("nobody", "Carl Lund")
    run = run_of(QUESTIONS, build({"mills": [row | {"answer": answer} for answer in answers]}))
    assert [example.fields["answer"] for example in run.examples()] == ["Carl Lund"]
    assert run.tally().dropped_before == {"no_output_cell": 1}


def test_an_answer_is_the_output_though_it_came_nearest_to_the_input(home, build):
    task = {
        "name": "chat",
        "instruction": "Answer.",
        "inputs": ["prompt"],
        "output": "reply",
        "examples": [{"prompt": "the mill by the river", "reply": "far away and up the hill"}],
    }
    (example,) = run_of(
        task, build({"chats": [{"prompt": "what now", "response": "the mill by the river"}]})
    ).examples()
    assert (example.fields["prompt"], example.fields["reply"]) == ("what now", "the mill by the river")


def test_a_title_is_no_output_unless_the_task_asks_for_one(home, build):
    task = {
        "name": "jokes",
        "instruction": "Write a joke about the text.",
        "inputs": ["text"],
        "output": "joke",
        "examples": [{"text": "a house by the river", "joke": "the house was so wet that it swam"}],
    }
    rows = [{"text": f"a house by the {word}", "title": f"the {word} swam"} for word in ("lake", "mill")]
    index = build({"stories": rows})
    with pytest.raises(NoExamplesError, match="no_output_cell"):
        list(run_of(task, index).examples())
    example = {"text": "a house by the river", "headline": "the house that swam"}
    asked = run_of(task | {"output": "headline", "examples": [example]}, index)
    assert {example.fields["headline"] for example in asked.examples()} == {row["title"] for row in rows}


QUESTIONS = {
    "name": "deeds",
    "instruction": "Answer the question with words of the passage.",
    "inputs": ["passage", "question"],
    "output": "answer",
    "extractive": True,
    "examples": [{"passage": "Anna Berg sold her house in May", "question": "Who sold it?", "answer": "Anna Berg"}],
}
PASSAGE = (
    "Carl Lund bought the mill by the river in 1904 from the widow of the miller, who had let it stand for three "
    "years and wanted to live with her daughter in the town of Nora."
)


def test_two_questions_about_one_passage_are_two_examples(home, build):
    asked = [("Who bought the mill?", "Carl Lund"), ("From whom was it bought?", "the widow of the miller")]
    rows = [{"passage": PASSAGE, "question": question, "answer": answer} for question, answer in [*asked, asked[0]]]
    run = run_of(QUESTIONS, build({"mills": rows}))
    assert {example.fields["question"]: example.fields["answer"] for example in run.examples()} == dict(asked)
    assert run.tally().dropped_before == {"near_duplicate_row": 1}


def test_two_inputs_need_two_columns(home, build):
    task = TRIAGE | {
        "inputs": ["message", "subject"],
        "examples": [
            {"message": "I was charged twice", "subject": "charge", "desk": "money"},
            {"message": "my parcel never came", "subject": "parcel", "desk": "parcels"},
        ],
    }
    run = run_of(task, build({"mail": [{"message": "charged again for nothing"}]}))
    with pytest.raises(NoExamplesError, match="no_input_columns|no_output_cell"):
        list(run.examples())


def test_a_teacher_that_would_not_be_asked_is_refused(home, build):
    index = build({"mail": [{"message": "I was charged twice", "desk": "money"}]})
    with pytest.raises(TaskError, match="asks no teacher, so `few-shot` would not be asked"):
        run_of(TRIAGE, index, teacher="few-shot")
    reasoning = TRIAGE | {"examples": [e | {"rationale": "because"} for e in TRIAGE["examples"]]}
    with pytest.raises(TaskError, match="have rationales"):
        run_of(reasoning, index)
