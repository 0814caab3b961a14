"""Generation without retrieval, whole, against a server on loopback."""

import _thread
import gc
import json
import re
import threading
import time
from collections import Counter
from functools import partial

import pytest
from datasets import load_dataset

from rebase_hf import generate
from rebase_hf.errors import NoExamplesError, TaskError, TeacherError
from rebase_hf.estimate import estimate_run
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.retrying import retry_failed
from rebase_hf.teacher.prompts import Unreadable
from rebase_hf.teacher.writing_prompts import parse_attributes
from tests.doubles.tgi_server import TGIServer, status
from tests.doubles.written_answers import asked_label, prompt_of, write_as_asked

TASK = {
    "name": "mood",
    "instruction": "Name the mood of a message.",
    "inputs": ["message"],
    "output": "mood",
    "labels": {"glad": "a message that is happy about something", "cross": "a message that complains"},
    "examples": [
        {"message": "what a fine day it was at the harbour", "mood": "glad"},
        {"message": "we danced until the band went home", "mood": "glad"},
        {"message": "nobody answered my letters for a month", "mood": "cross"},
    ],
}
STORY = {
    "name": "shorten",
    "instruction": "Say it in fewer words.",
    "examples": [{"input": "It is a very cold day today, is it not?", "output": "Cold day."}],
}
PROPOSED = {
    "dimensions": [{"name": "writer", "values": ["a child", "a clerk"]}, {"name": "place", "values": ["x", "x"]}]
}


def run_of(url, number=6, task=TASK, **options):
    return Run(make_plan(task, None, url, method="fewgen", num_examples=number, options=options))


def proposing(request, call):
    if "dimensions" in request["response_format"]["value"]["properties"]:
        return json.dumps(PROPOSED)
    return write_as_asked(request, call)


def test_labels_come_balanced_with_nothing_retrieved(home):
    with TGIServer(answer=write_as_asked) as server:
        run = run_of(server.url)
        examples = list(run.examples())
        for request in server.chat_requests:
            shown = re.findall(r'\{"message": "(.*?)"', prompt_of(request))
            assert shown and all(t in {e["message"] for e in TASK["examples"]} for t in shown)
            others = [e["message"] for e in TASK["examples"] if e["mood"] != asked_label(request)]
            assert not set(shown) & set(others)
            assert request["temperature"] == 0.95 and request["top_p"] == 0.9
    assert Counter(example.fields["mood"] for example in examples) == {"glad": 3, "cross": 3}
    assert all(example.provenance["dataset"] is None for example in examples)
    assert {source["role"] for example in examples for source in example.sources} == {"shot"}
    assert run.tally().retrieved == run.tally().asked == 6


def test_zero_shot_shows_no_example(home):
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(server.url, shots=0).examples())
        assert not any("# Examples" in prompt_of(request) for request in server.chat_requests)
    assert all(example.sources == () for example in examples)


def test_the_same_prompt_is_drawn_anew_and_never_paid_twice(home):
    with TGIServer(answer=write_as_asked) as server:
        first = list(run_of(server.url, 6, shots=0).examples())
        assert len({example.fields["message"] for example in first}) == 6
        asked = len(server.chat_requests)
        assert [e.fields for e in run_of(server.url, 8, shots=0).examples()][:6] == [e.fields for e in first]
        assert len(server.chat_requests) == asked + 2


def test_a_task_without_labels_gets_inputs_and_outputs_written(home):
    with TGIServer(answer=write_as_asked) as server:
        examples = list(run_of(server.url, 3, task=STORY).examples())
    assert all(set(example.fields) == {"input", "output"} for example in examples) and len(examples) == 3


def test_attributes_of_the_task_are_drawn_at_random_and_said(home):
    task = TASK | {"attributes": {"tone": ["warm", "dry"], "length": ["short", "long"]}}
    with TGIServer(answer=write_as_asked) as server:
        list(run_of(server.url, 12, task=task, attributes="task").examples())
        drawn = Counter(
            tuple(re.findall(r"- (?:tone|length): (\w+)", prompt_of(request))) for request in server.chat_requests
        )
    assert len(drawn) > 2 and all(len(values) == 2 for values in drawn)


def test_the_teacher_is_asked_once_for_attributes(home):
    with TGIServer(answer=proposing) as server:
        list(run_of(server.url, 6, attributes="teacher").examples())
        asked = [request for request in server.chat_requests if "dimensions" in prompt_of(request)]
        written = [request for request in server.chat_requests if "dimensions" not in prompt_of(request)]
        assert len(asked) == 1
        # A dimension with one value says nothing, and is left out.
        assert {re.search(r"- writer: (.+)", prompt_of(request))[1] for request in written} <= {"a child", "a clerk"}
        assert not any("- place:" in prompt_of(request) for request in written)
        list(run_of(server.url, 7, attributes="teacher").examples())
        assert len(server.chat_requests) == 8


def test_attributes_that_cannot_be_had_end_the_run_before_anything_else_is_asked(home):
    with TGIServer(answer=lambda request, call: '{"dimensions": []}', enforce_schema=False) as server:
        run = run_of(server.url, 6, attributes="teacher")
        with pytest.raises(TeacherError, match="named no dimensions"):
            list(run.examples())
        assert all("dimensions" in prompt_of(request) for request in server.chat_requests)


def test_attributes_that_could_not_be_had_can_be_asked_for_again(home):
    proposed = ['{"dimensions": []}']

    def answer(request, call):
        if "dimensions" in request["response_format"]["value"]["properties"]:
            return proposed[0]
        return write_as_asked(request, call)

    with TGIServer(answer=answer, enforce_schema=False) as server:
        run = run_of(server.url, 6, attributes="teacher")
        with pytest.raises(TeacherError, match="named no dimensions"):
            list(run.examples())
        asked = len(server.chat_requests)
        proposed[0] = json.dumps(PROPOSED)
        assert estimate_run(run.plan, retry_failed=True).requests >= 7
        retry_failed(run.plan)
        assert len(list(run_of(server.url, 6, attributes="teacher").examples())) == 6
        assert len(server.chat_requests) == asked + 7


def test_a_dry_run_counts_what_is_asked_once_too(home):
    with TGIServer(answer=proposing) as server:
        plan = make_plan(TASK, None, server.url, method="fewgen", num_examples=6, options={"attributes": "teacher"})
        assert not server.chat_requests
        estimate = estimate_run(plan)
        list(Run(plan).examples())
    assert estimate.requests >= 7 and estimate.finished is False


def test_of_a_cut_answer_the_outputs_before_the_cut_are_used(home):
    """What was cut is dropped with the reason that a cut answer of one output has; nothing is asked again."""

    def too_long(request, call):
        said = json.loads(write_as_asked(request, 0))
        said["examples"][2]["message"] += " and on" * 5000
        return json.dumps(said)

    with TGIServer(answer=too_long) as server:
        run = run_of(server.url, 4, outputs=3)
        examples = list(run.examples())
        assert sorted(request["max_tokens"] for request in server.chat_requests) == [2200, 2200, 4400, 4400]
        asked = len(server.chat_requests)
        assert list(run_of(server.url, 4, outputs=3).examples()) == examples and len(server.chat_requests) == asked
    assert len(examples) == 4 and not any("and on" in example.fields["message"] for example in examples)
    tally = run.tally()
    assert tally.dropped == {"truncated_answer": 2} and tally.quarantined == {} and tally.outputs == 6
    assert all("cut at 4400 tokens" in entry["detail"] for entry in run.ledger())


def test_a_cut_answer_without_a_whole_output_has_failed(home):
    said = '{"examples": [{"message": "' + "and on " * 9000
    with TGIServer(answer=lambda request, call: said, enforce_schema=False) as server:
        run = run_of(server.url, 2, outputs=2, patience=1)
        with pytest.raises(NoExamplesError, match="truncated_answer"):
            list(run.examples())
    assert run.tally().quarantined == {"truncated_answer": run.tally().asked}


def test_an_interrupt_while_attributes_are_asked_for_says_nothing_of_lost_exceptions(home, caplog):
    gc.collect()  # what tests before this one left
    caplog.clear()
    with TGIServer(answer=lambda request, call: status(503, retry_after="30")) as server:
        run = run_of(server.url, 6, attributes="teacher")

        def interrupt():
            while not server.chat_requests:
                time.sleep(0.01)
            _thread.interrupt_main()

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            next(run.examples(), None)
        run.interrupt()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_label_that_refuses_to_come_ends_the_run(home):
    with TGIServer(answer=lambda request, call: json.dumps({"message": "always the same words here"})) as server:
        run = run_of(server.url, 4, patience=2)
        assert len(list(run.examples())) == 1
    assert run.tally().asked == 8 and run.tally().dropped["duplicate_output"] == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attributes": "task"}, "has no `attributes`"),
        ({"attributes": "any"}, "expected none, task or teacher"),
        ({"shots": -1}, "`shots` is -1"),
        ({"outputs": 0}, "`outputs` is 0"),
        ({"dimensions": 3}, "`dimensions` is 3, and does nothing here: it needs `attributes=teacher`"),
        ({"values": 4}, "`values` is 4, and does nothing here"),
    ],
)
def test_what_does_not_fit_is_said(home, options, said):
    with TGIServer(answer=write_as_asked) as server, pytest.raises(TaskError, match=said):
        run_of(server.url, 2, **options)


def test_an_option_at_its_default_is_never_refused(home):
    with TGIServer() as server:
        assert run_of(server.url, 2, task=STORY, values=10, exact_labels=True).plan.options.values == 10
    with pytest.raises(TaskError, match="`exact_labels` is False.*a task with `labels`"):
        make_plan(STORY, None, "http://127.0.0.1:9", method="fewgen", options={"exact_labels": False})


@pytest.mark.parametrize("given", ["./harbour", ["./a", "./b"]])
def test_an_index_that_nothing_is_retrieved_from_is_refused_whichever_way_it_is_given(home, given):
    asked = {"task": TASK, "index": given, "teacher": "http://127.0.0.1:9", "method": "fewgen"}
    for ask in (generate, partial(load_dataset, "rebase")):
        with pytest.raises(TaskError, match="The index is .*, and method `fewgen` retrieves nothing"):
            ask(**asked)


def test_teachers_that_write_nothing_are_refused(home):
    with pytest.raises(TaskError, match="few-shot teacher only labels"):
        make_plan(TASK, None, "few-shot", method="fewgen")
    with pytest.raises(TaskError, match="asks a teacher, and the teacher is `none`"):
        make_plan(TASK, None, "none", method="fewgen")
    with pytest.raises(TaskError, match="index is missing"):
        list(generate(TASK, None, "http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps(PROPOSED), {"writer": ("a child", "a clerk")}),
        ('Sure: {"dimensions": [{"name": " tone ", "values": ["dry", "dry", "warm", 3]}]}', {"tone": ("dry", "warm")}),
        ('{"dimensions": [{"name": "tone", "values": ["dry"]}]}', None),
        ('{"dimensions": 3}', None),
        ("nothing", None),
        ('{"dimensions": [' + '{"name": "a", "values": [' * 3000, None),
    ],
)
def test_proposed_attributes_are_read_or_refused(text, found):
    read = parse_attributes(text)
    assert read == found if found else isinstance(read, Unreadable)
