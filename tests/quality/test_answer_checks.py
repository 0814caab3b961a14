from rebase_hf.quality.answer_checks import answer_checks
from rebase_hf.task import Task

TRIAGE = Task.load(
    {
        "name": "triage",
        "instruction": "Decide.",
        "output": "team",
        "labels": ["billing", "delivery", "I can't help with that."],
        "examples": [
            {"input": "I was charged twice for it.", "team": "billing", "rationale": "Charges are payments."},
            {"input": "Where is the parcel that you sent?", "team": "delivery", "rationale": "A parcel is late."},
        ],
    }
)
QA = Task.load(
    {
        "name": "qa",
        "instruction": "Answer.",
        "inputs": ["notice", "question"],
        "output": "answer",
        "extractive": True,
        "examples": [{"notice": "The pool opens at nine.", "question": "When?", "answer": "at nine"}],
    }
)
GERMAN = "Ich habe die Rechnung für den Mai noch nicht bekommen und bitte um eine Kopie."
DECLINED = "I'm sorry, but I can't help with that request."


def refused(task: Task, fields: dict[str, str], rationale: str | None = None, **options: object) -> str | None:
    chosen = {"refusals": True, "length_factor": 10.0, "language": True} | options
    for check in answer_checks(task, **chosen):
        if (refusal := check.refuse(fields, rationale)) is not None:
            assert refusal[0] in check.reasons and check.idle is None
            return refusal[0]
    return None


def triage(text: str, team: str = "billing", rationale: str | None = "It is about a payment.", **options: object):
    return refused(TRIAGE, {"input": text, "team": team}, rationale, **options)


def test_a_good_answer_passes_all_checks():
    assert triage("I paid.") is None
    assert refused(QA, {"notice": "Opens at ten.", "question": "When?", "answer": "at ten"}) is None


def test_what_declines_is_told_before_what_it_breaks():
    assert triage(DECLINED) == "teacher_declined"
    assert triage("Where is it?", team="As an AI, I cannot choose a team.") == "teacher_declined"
    assert triage("Where is it?", rationale="I cannot assist with that request.") == "teacher_declined"
    assert triage(DECLINED, refusals=False) is None
    assert triage("Where is it?", team="As an AI, I cannot choose a team.", refusals=False) == "label_not_in_task"


def test_a_label_and_a_span_may_have_any_words():
    assert triage("Is this the bakery?", team="I can't help with that.") is None
    notice = f'The clerk, a machine, said: "{DECLINED}" and the customer left the shop at nine.'
    fields = {"notice": notice, "question": "What did the clerk say?"}
    assert refused(QA, fields | {"answer": DECLINED}) is None
    assert refused(QA, fields | {"answer": DECLINED[:-1] + " today."}) == "teacher_declined"


def test_what_the_examples_do_is_allowed():
    shown = {"input": DECLINED, "team": "billing", "rationale": "It is declined."}
    task = Task.load(TRIAGE.to_dict() | {"examples": [shown]})
    assert refused(task, {"input": "I can't assist with this request.", "team": "billing"}, "It is declined.") is None
    german = Task.load(TRIAGE.to_dict() | {"examples": [{**shown, "input": GERMAN}]})
    other = "Das Paket ist nicht angekommen, und ich weiß nicht, wo es jetzt ist."
    assert refused(german, {"input": other, "team": "billing"}, "It is lost.") is None
    english = "The parcel has not arrived and I do not know where it is now."  # still the task's language
    assert refused(german, {"input": english, "team": "billing"}, "It is lost.") is None
    assert refused(german, {"input": other, "team": "billing"}, other) == "other_language"


def test_texts_of_another_length_than_the_examples_are_refused():
    assert triage("Hm") == "too_short"
    assert triage("Ok!") is None
    assert triage("I was charged. " * 22) is None
    assert triage("I was charged. " * 23) == "too_long"
    assert triage("Where is it?", rationale="It is. " * 40) == "too_long"
    assert triage("I was charged. " * 23, length_factor=None) is None
    assert triage("Hm", length_factor=None) is None


def test_short_examples_leave_room():
    fields = {"notice": "The pool opens.", "question": "x" * 200, "answer": "opens"}
    assert refused(QA, fields) is None
    assert refused(QA, fields | {"question": "x" * 201}) == "too_long"
    assert refused(QA, fields | {"notice": "It opens " + "and closes " * 20, "answer": "and closes " * 10}) is None


def test_another_language_is_refused_field_by_field():
    assert triage(GERMAN) == "other_language"
    assert triage("Where is it?", rationale=GERMAN) == "other_language"
    assert triage(GERMAN, language=False) is None
    danish = Task.load(TRIAGE.to_dict() | {"language": "da"})
    assert refused(danish, {"input": GERMAN, "team": "billing"}, "En betaling.") == "other_language"


def test_a_language_that_nothing_is_known_of_is_not_checked():
    task = Task.load(TRIAGE.to_dict() | {"language": "yo"})
    assert refused(task, {"input": GERMAN, "team": "billing"}, "x") is None
    idle = {
        check.reasons: check.idle for check in answer_checks(task, refusals=False, length_factor=None, language=True)
    }
    assert idle[("other_language",)] == "nothing is known of language `yo`"
    assert idle[("teacher_declined",)] == "it is off"
    assert idle[("too_short", "too_long")] == "any length will do"
