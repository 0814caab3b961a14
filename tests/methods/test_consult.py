import pytest

from rebase_hf import generate
from rebase_hf.errors import TaskError
from rebase_hf.methods.consulting import advice_on, advice_on_row
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.rows import RetrievedRow, SourceRow
from rebase_hf.run_report import run_report
from rebase_hf.task import Task
from rebase_hf.teacher.advice import Advice
from rebase_hf.teacher.prompts import transform_messages
from rebase_hf.teacher.rationale_prompts import question_messages, reading_messages
from tests.doubles.harbour import BOATS, asked_for, harbour_task, harbour_teacher, notices, question, rules
from tests.doubles.task_answers import desk_answer, shown_row
from tests.doubles.tgi_server import TGIServer

HEADER = "# What a small model says"


class Opinion:
    """Says one label, surer the longer a text is; remembers what it was asked."""

    def __init__(self, label="money", name="opinion@1"):
        self.label, self.name, self.asked = label, name, []

    def __call__(self, inputs):
        self.asked += inputs
        return [(self.label, self.sure(one)) for one in inputs]

    @staticmethod
    def sure(inputs):
        return 0.5 + len("".join(inputs.values())) % 50 / 100


def plan_of(triage, index, url, **given):
    return make_plan(triage, index, url, num_examples=12, **given)


# --- ReBase


def test_each_prompt_has_the_label_and_confidence_for_its_own_row(home, triage, bank_index):
    opinion = Opinion()
    with TGIServer(answer=desk_answer) as server:
        plan = plan_of(triage, bank_index, server.url, consult=opinion)
        assert len(list(Run(plan).examples())) == 12
        prompts = {r["messages"][0]["content"]: shown_row(r) for r in server.chat_requests}
        assert run_report(Run(plan), command="", num_validation=0)["consulted"] == "opinion@1"
    assert all(set(inputs) == {"message"} for inputs in opinion.asked)
    texts = {inputs["message"] for inputs in opinion.asked}
    for prompt, row in prompts.items():
        (text,) = texts & set(row.values())  # one of the row's own cells was asked about
        percent = round(100 * opinion.sure({"message": text}))
        assert f"It says `money` and is {percent} % sure. It may be wrong" in prompt


def test_without_a_student_prompts_and_run_are_what_they_were(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        list(generate(triage, bank_index, server.url, num_examples=12))
        assert not any(HEADER in request["messages"][0]["content"] for request in server.chat_requests)
        plain, one, other = (
            plan_of(triage, bank_index, server.url, consult=consult).run_id
            for consult in (None, Opinion(), Opinion(name="opinion@2"))
        )
        again = plan_of(triage, bank_index, server.url, consult=Opinion()).run_id
    assert len({plain, one, other}) == 3 and again == one


def test_nothing_else_of_a_prompt_changes(triage):
    task = Task.load(triage)
    row = RetrievedRow(SourceRow("d", None, "train", None, 1, None, None, {"text": "late"}), 0.5)
    for plan in (None, "Take the text."):
        bare = transform_messages(task, row, cells={"text": "late"}, plan=plan)[0].content
        told = transform_messages(task, row, cells={"text": "late"}, plan=plan, advice=Advice("money", 0.913))
        before, _, after = told[0].content.partition(f"\n\n{HEADER}\n")
        said, _, rest = after.partition("\n")
        assert before + "\n" + rest == bare and "`money` and is 91 % sure" in said


def test_a_plan_is_made_without_advice_and_followed_with_it(home, triage, bank_index):
    opinion = Opinion()

    def planning(request, call):
        keys = request["response_format"]["value"]["properties"]
        if list(keys) == ["plan"]:
            return '{"plan": "Take the longest text."}'
        return desk_answer(request, call).replace("{", '{"usable": "yes", ', 1)

    with TGIServer(answer=planning) as server:
        plan = plan_of(triage, bank_index, server.url, consult=opinion, options={"plan": True})
        assert len(list(Run(plan).examples())) == 12
        advised = {asked_for(request): HEADER in request["messages"][0]["content"] for request in server.chat_requests}
    assert advised == {"plan": False, "desk": True}


def test_a_row_in_which_nothing_stands_for_an_input_is_not_asked_about():
    task = Task.load(harbour_task(labels=["north quay", "south quay"]))
    source = SourceRow("d", None, "train", None, 1, None, None, {"text": "late", "other": "x"})
    opinion = Opinion("north quay")
    assert advice_on_row(task, opinion, RetrievedRow(source, 0.5)) is None
    assert advice_on_row(task, None, RetrievedRow(source, 0.5, fields={"question": "text"})) is None
    assert advice_on_row(task, opinion, RetrievedRow(source, 0.5, fields={"question": "text"})).label == "north quay"
    assert opinion.asked == [{"question": "late"}]


# --- KARD


@pytest.fixture
def quays():
    return harbour_task(
        labels=sorted({quay for _, quay in BOATS.values()}), examples=[question(boat) for boat in BOATS]
    )


def test_the_reading_has_it_and_the_explanation_does_not(home, quays, build):
    index = build({"rules": rules(), "notices": notices()})
    opinion = Opinion("east quay")
    with TGIServer(answer=harbour_teacher()) as server:
        plan = make_plan(quays, index, server.url, method="kard", num_examples=6, consult=opinion)
        assert len(list(Run(plan).examples())) == 6
        for request in server.chat_requests:
            prompt = request["messages"][0]["content"]
            assert (HEADER in prompt) == (asked_for(request) == "berth")
            assert "was asked about the question. It says `east quay`" in prompt or asked_for(request) == "rationale"
    assert [inputs["question"] for inputs in opinion.asked].count(question("Fregat")["question"]) == 1
    assert not any("berth" in inputs for inputs in opinion.asked)  # the gold answer is not shown


def test_nothing_else_of_a_reading_changes(quays):
    task = Task.load(quays)
    bare = reading_messages(task, question("Fregat"), "A ferry.")[0].content
    told = reading_messages(task, question("Fregat"), "A ferry.", advice=Advice("new quay", 1.0))[0].content
    before, _, after = told.partition(f"\n\n{HEADER}\n")
    assert before + after.partition("\n")[1] + after.partition("\n")[2] == bare
    assert HEADER not in question_messages(task, question("Fregat"))[0].content


# --- what can't be


class Trained(Opinion):
    def __init__(self, task):
        super().__init__()
        self.task = Task.load(task)


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({"labels": {}}, {}, "has none: it is a generation task"),
        ({}, {"teacher": "few-shot"}, "reads no prompts"),
        ({}, {"method": "fewgen"}, "no student is consulted"),
        ({}, {"method": "kard", "options": {"verify": "none"}}, "no student is consulted"),
        ({}, {"consult": len}, "has a `name`"),
        ({}, {"consult": "runs/desk"}, "has a `name`"),
        ({}, {"consult": Trained(harbour_task(labels=["a", "north quay"]))}, "Consult a student of the same task"),
    ],
)
def test_who_can_not_be_consulted_is_refused(home, triage, bank_index, changes, given, message):
    with TGIServer() as server:
        asked = {"consult": Opinion(), "teacher": server.url} | given
        with pytest.raises(TaskError, match=message):
            make_plan(triage | changes, bank_index, num_examples=5, **asked)
        assert not server.chat_requests


def test_a_label_that_the_task_does_not_have_is_an_error(triage):
    with pytest.raises(TaskError, match="says `billing`"):
        advice_on(Task.load(triage), Opinion("billing"), {"message": "x"})
