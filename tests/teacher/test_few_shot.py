import asyncio
import json
import shutil

import pytest

from rebase_hf.errors import TeacherRefused
from rebase_hf.rows import Draft, Message, RetrievedRow, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.asking import BudgetReached, Unanswered, identify, open_teacher
from rebase_hf.teacher.few_shot import FewShotTeacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.target import Teacher
from tests.doubles.tiny_models import ROWS, TEXTS, make_sentence_encoder

CONTENT = {
    "name": "triage",
    "instruction": "Decide which team should handle a message.",
    "inputs": ["message"],
    "output": "team",
    "labels": {"billing": "a payment or refund", "shipping": "a parcel", "account": "a password", "other": "the rest"},
    "examples": ROWS,
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return Teacher("few-shot", model=make_sentence_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture
def journal(tmp_path):
    opened = Journal.open(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def draft(text, *, fields=None, number=0):
    cells = {"id": str(number), "body": text, "title": "a title"}
    source = SourceRow("org/bank", None, "train", "abc", number, "mit", None, cells)
    row = RetrievedRow(
        source, 0.5, columns={"input": "title"}, fields={"message": "body"} if fields is None else fields
    )
    return Draft(messages=(Message("user", f"Transform this row: {text}"),), schema=None, row=row)


def ask_all(teacher, task, journal, drafts, *, seed=0):
    async def run():
        asker = await open_teacher(teacher, Task.load(task), journal, seed=seed)
        try:
            answers = await asyncio.gather(*(asker.ask(one) for one in drafts), return_exceptions=True)
        finally:
            await asker.close()
        return answers, asker

    return asyncio.run(run())


def test_the_answer_is_what_a_chat_teacher_would_write(teacher, journal):
    text = 'He said "my parcel" – ünïcode\nand a second line'
    [answer], _ = ask_all(teacher, CONTENT, journal, [draft(text)])
    fields = json.loads(answer.text)
    assert list(fields) == ["message", "team"]
    assert fields["message"] == text
    assert fields["team"] in CONTENT["labels"]
    assert 0.25 < answer.confidence <= 1
    assert answer.finish_reason == "stop"


def test_it_labels_the_examples_it_was_trained_on(teacher, journal):
    answers, _ = ask_all(teacher, CONTENT, journal, [draft(row["message"]) for row in ROWS])
    right = [json.loads(a.text)["team"] == row["team"] for a, row in zip(answers, ROWS, strict=True)]
    assert sum(right) >= 9


def test_it_falls_back_to_the_best_input_column(teacher, journal):
    [answer], _ = ask_all(teacher, CONTENT, journal, [draft("body text", fields={})])
    assert json.loads(answer.text)["message"] == "a title"


def test_a_row_without_text_is_unanswered(teacher, journal):
    [answer], asker = ask_all(teacher, CONTENT, journal, [draft("  ")])
    assert isinstance(answer, Unanswered)
    assert answer.reason == "no_input_text"
    assert asker.usage.requests == 0


def test_a_rerun_asks_nothing_and_trains_nothing(teacher, journal, tmp_path):
    shutil.copytree(teacher.model, tmp_path / "encoder")
    ours = Teacher("few-shot", model=str(tmp_path / "encoder"))
    drafts = [draft(text, number=n) for n, text in enumerate(TEXTS["billing"])]
    first, before = ask_all(ours, CONTENT, journal, drafts)
    # Whoever trained again would find no weights.
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"")
    again, after = ask_all(ours, CONTENT, journal, drafts)
    assert again == first
    assert (before.usage.requests, before.usage.from_journal) == (4, 0)
    assert (after.usage.requests, after.usage.from_journal) == (0, 4)


@pytest.mark.parametrize(
    ("change", "seed"),
    [
        ({"examples": ROWS[:-1]}, 0),
        ({"labels": {**CONTENT["labels"], "other": "anything else"}}, 0),
        ({}, 1),
    ],
)
def test_other_examples_phrases_or_seed_are_another_question(teacher, journal, change, seed):
    [first], _ = ask_all(teacher, CONTENT, journal, [draft("hello")])
    [other], asker = ask_all(teacher, {**CONTENT, **change}, journal, [draft("hello")], seed=seed)
    assert other.key != first.key
    assert asker.usage.from_journal == 0


def test_the_row_it_came_from_and_the_prompt_do_not_matter_only_the_text(teacher, journal):
    [first], _ = ask_all(teacher, CONTENT, journal, [draft("hello", number=1)])
    [other], asker = ask_all(teacher, CONTENT, journal, [draft("hello", number=2)])
    assert other == first
    assert asker.usage.from_journal == 1


def test_two_hundred_asks_at_once_are_answered_in_order(teacher, journal):
    texts = [f"the parcel number {n}" for n in range(200)]
    answers, asker = ask_all(teacher, CONTENT, journal, [draft(text) for text in texts])
    assert [json.loads(answer.text)["message"] for answer in answers] == texts
    assert asker.usage.requests == 200


def test_one_who_gives_up_waiting_does_not_take_the_others_along(teacher, journal):
    async def run():
        asker = FewShotTeacher(teacher, Task.load(CONTENT), journal, seed=0)
        impatient = asyncio.ensure_future(asker.ask(draft("first")))
        patient = asyncio.ensure_future(asker.ask(draft("second")))
        await asyncio.sleep(0)
        impatient.cancel()
        try:
            return await patient
        finally:
            await asker.close()

    assert json.loads(asyncio.run(run()).text)["message"] == "second"


def test_the_limit_on_requests_holds(teacher, journal):
    limited = Teacher("few-shot", model=teacher.model, max_requests=2)
    answers, _ = ask_all(limited, CONTENT, journal, [draft(f"text {n}") for n in range(3)])
    assert [type(answer).__name__ for answer in answers] == ["Completion", "Completion", "BudgetReached"]
    assert isinstance(answers[2], BudgetReached)


def test_identity_is_the_base_models_name_and_weights(teacher):
    identity = identify(teacher, Task.load(CONTENT))
    assert (identity.model, identity.kind) == ("few-shot:tiny-encoder", "few-shot")
    assert len(identity.revision) == 64


def test_the_trace_says_what_was_asked(teacher, journal):
    [answer], _ = ask_all(teacher, CONTENT, journal, [draft("hello")])
    asked = journal.request(answer.key)
    assert json.loads(asked["messages"][1]["content"]) == {"message": "hello"}
    assert asked["messages"][0]["content"].startswith("SetFit trained on the examples of task `triage`, sha256 ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {}}, "is a generation task"),
        ({"examples": [{**ROWS[0], "rationale": "because"}]}, "can't write rationales"),
    ],
)
def test_a_task_that_labels_can_not_answer_is_refused(teacher, change, message):
    with pytest.raises(TeacherRefused, match=message):
        identify(teacher, Task.load({**CONTENT, **change}))


def test_a_draft_without_a_row_is_refused(teacher, journal):
    [answer], _ = ask_all(teacher, CONTENT, journal, [Draft(messages=(Message("user", "Write one."),), schema=None)])
    assert isinstance(answer, TeacherRefused)
