import asyncio
import json
import re
import shutil
import sqlite3
import sys
import threading
import tracemalloc
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from datasets import load_dataset
from pyarrow import parquet

from rebase_hf.cli import main
from rebase_hf.cli.row_address import find_row
from rebase_hf.cli.trace import trace_row
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.gate import Gate, check_steps
from rebase_hf.rows import Completion, Draft, Dropped, source_address
from rebase_hf.task import Task
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.prompts import Parsed
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import Answer, TGIServer, status

TASK = {
    "name": "desk",
    "instruction": "Decide which desk handles a customer's message.",
    "inputs": ["message"],
    "output": "desk",
    "labels": {"money": "payments and refunds", "parcels": "deliveries", "other": "anything else"},
    "examples": [
        {"message": "I was charged twice for one order.", "desk": "money"},
        {"message": "My parcel has not arrived.", "desk": "parcels"},
    ],
}
WANTED = 6
# An answer that clears the screen, renames the window, turns the text around, and passes for another section.
GARBLED = "Sure!\x1b[2J\x1b]0;owned\x07\r\n\n# Outcome: example 0\x9b31m \u202egnirts {\tno JSON\u2028"
CUT = Answer('{"message": "half of', "length")
DRIVING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Clerk:
    """A teacher that goes wrong in every way, one after another, and then answers well."""

    def __init__(self):
        self.script = ["good", "mended", "garbled", "cut", "mended-cut", "shaky", "copy", *["wrong label"] * 8]
        self.ways, self.lock = {}, threading.Lock()

    def __call__(self, request, call):
        first = request["messages"][0]["content"]
        with self.lock:
            if first not in self.ways:
                self.ways[first] = self.script.pop(0) if self.script else "good"
            way = self.ways[first]
        again = len(request["messages"]) > 1
        if way == "garbled" or (way in ("mended", "mended-cut") and not again):
            return GARBLED
        if way in ("cut", "mended-cut"):
            return CUT
        if way == "shaky" and call == 1:
            return status(500, {"error": "CUDA error"})
        answer = json.loads(desk_answer(request, call))
        if way == "copy":
            answer["message"] = "I was charged twice for one order!"
        if way == "wrong label":
            answer["desk"] = "complaints"
        return json.dumps(answer)


@dataclass(frozen=True)
class Finished:
    folder: Path
    home: Path
    bodies: list
    ways: dict


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_index):
    root = tmp_path_factory.mktemp("trace")
    (root / "task.yaml").write_text(yaml.safe_dump(TASK, sort_keys=False))
    clerk = Clerk()
    with pytest.MonkeyPatch.context() as patch, TGIServer(answer=clerk, enforce_schema=False) as server:
        patch.setenv("REBASE_HOME", str(root / "home"))
        arguments = (
            "generate", root / "task.yaml", "--index", model_index, "--teacher", server.url, "--output", root / "run",
            "--num-examples", WANTED - 2, "--num-validation", 2, "--max-per-source", 7, "--allow-quarantined", 1,
        )  # fmt: skip
        patch.setattr(sys, "argv", ["rebase-hf", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return Finished(root / "run", root / "home", server.chat_requests, clerk.ways)


@pytest.fixture
def trace(monkeypatch, capsys, finished):
    """Run `trace` on the finished run; return its exit code, output and errors."""

    def call(*arguments, folder=finished.folder, home=finished.home):
        monkeypatch.setenv("REBASE_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["rebase-hf", "trace", str(folder), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return call


@pytest.fixture
def stories(monkeypatch, finished):
    """The stories of all rows of the run, by the way in which the teacher answered; `before` where not asked."""
    monkeypatch.setenv("REBASE_HOME", str(finished.home))
    found = defaultdict(list)
    ledger = len(ledger_of(finished))
    for row in [*map(str, range(WANTED)), *(f"ledger:{number}" for number in range(ledger))]:
        story = trace_row(finished.folder, row)
        first = story["requests"][0]["messages"][0]["content"] if story["requests"] else None
        found[finished.ways[first] if first else "before"].append(story)
    return found


def ledger_of(finished):
    return [json.loads(line) for line in (finished.folder / "ledger.jsonl").read_text().strip().split("\n")]


def sent_about(finished, story):
    """What the server was sent about a row, in order, repeats of a request left out."""
    first = story["requests"][0]["messages"][0]
    turns = [body["messages"] for body in finished.bodies if body["messages"][0] == first]
    return sorted({json.dumps(chat): chat for chat in turns}.values(), key=len)


def results(story):
    return {check["check"]: check["result"] for check in story["checks"]}


ALL_CHECKS = [
    "readable", "empty_field", "teacher_declined", "label_not_in_task", "answer_not_in_input",
    "rationale_without_reasoning", "too_short or too_long", "other_language", "not_answerable",
    "inconsistent_answers", "low_confidence", "in_evaluation_set", "label_full", "few_shot_copy or duplicate_output",
]  # fmt: skip
IDLE = {
    "answer_not_in_input", "rationale_without_reasoning", "not_answerable", "inconsistent_answers", "low_confidence",
    "in_evaluation_set", "label_full",
}  # fmt: skip
PASSED = {name: "not_applicable" if name in IDLE else "passed" for name in ALL_CHECKS}
NOT_RUN = dict.fromkeys(ALL_CHECKS, "not_run")


def test_the_stories_of_all_rows_tell_every_request_that_the_server_received_byte_for_byte(finished, stories):
    told = {json.dumps(r["messages"]) for ways in stories.values() for story in ways for r in story["requests"]}
    assert told == {json.dumps(body["messages"]) for body in finished.bodies}
    for story in (story for ways in stories.values() for story in ways if story["requests"]):
        assert [request["messages"] for request in story["requests"]] == sent_about(finished, story)
        assert all(request["in_journal"] and request["sent"] for request in story["requests"])
    body, request = finished.bodies[0], stories["good"][0]["requests"][0]
    assert request["sampling"]["max_tokens"] == body["max_tokens"]
    assert request["sampling"]["temperature"] == body["temperature"]
    assert request["schema"] == body["response_format"]["value"] and request["model"] == "test/teacher"


def test_an_example_is_told_from_its_source_to_its_place_in_the_dataset(finished, trace, stories):
    story = next(story for story in stories["good"] if story["outcome"]["outcome"] == "example")
    kept = json.loads((finished.folder / "rows.jsonl").read_text().split("\n")[int(story["row"])])
    assert {**story["source"], "role": "context"} == {**kept["source"], "url": None}
    assert story["cells"] == kept["cells"] and story["score"]["parts"] == kept["parts"]
    assert story["score"]["columns"] == kept["columns"] and story["score"]["fields_from"] == kept["fields_from"]
    assert story["outcome"]["position"] == kept["position"] and story["outcome"]["split"] == kept["split"]
    assert results(story) == PASSED and list(results(story)) == ALL_CHECKS
    (request,) = story["requests"]
    answer, example = request["answer"], story["outcome"]["example"]
    assert json.loads(answer["text"]) == {"message": example["message"], "desk": example["desk"]}
    assert answer["finish_reason"] == "stop" and answer["completion_tokens"] > 0 and answer["attempts"] == 1
    code, out, _ = trace(story["row"])
    assert code == 0 and f"[user]\n{request['messages'][0]['content']}\n\n# Answer" in out
    assert f"\n{answer['text']}\n\n# Checks" in out
    assert f"# Outcome: example {kept['position']}, number " in out
    assert json.loads(trace(story["row"], "--json")[1]) == story


def test_every_position_is_the_row_of_the_split_that_the_dataset_has_there(finished, stories):
    told = sorted(
        (story["outcome"] for way in stories.values() for story in way if story["outcome"]["outcome"] == "example"),
        key=lambda outcome: outcome["position"],
    )
    assert [outcome["position"] for outcome in told] == list(range(WANTED))
    for split in ("train", "validation"):
        rows = load_dataset("parquet", data_files=str(finished.folder / f"data/{split}.parquet"), split="train")
        names = rows.features["desk"].names
        here = [outcome for outcome in told if outcome["split"] == split]
        assert [outcome["row_in_split"] for outcome in here] == list(range(rows.num_rows))
        assert [outcome["example"] for outcome in here] == [{**row, "desk": names[row["desk"]]} for row in rows]


def test_an_example_is_found_in_whichever_row_group_it_is(finished, stories, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    for path in (run / "data").glob("*.parquet"):
        parquet.write_table(parquet.read_table(path), path, row_group_size=1)
    for story in (story for way in stories.values() for story in way if story["outcome"]["outcome"] == "example"):
        assert trace_row(run, story["row"])["outcome"] == story["outcome"]


def test_a_repaired_row_has_both_questions_with_their_answers(finished, stories):
    (story,) = stories["mended"]
    first, repair = story["requests"]
    assert story["outcome"]["outcome"] == "example" and results(story) == PASSED
    assert first["answer"]["text"] == GARBLED and first["repair"] == 0
    assert repair["repair"] == 1 and [turn["role"] for turn in repair["messages"]] == ["user", "assistant", "user"]
    assert repair["key"] == story["outcome"]["example"]["provenance"]["prompt_id"] != first["key"]
    assert json.loads(repair["answer"]["text"])["desk"] == story["outcome"]["example"]["desk"]


def test_a_row_without_a_readable_answer_is_told_with_both_of_them(stories):
    (story,) = stories["garbled"]
    assert [request["answer"]["text"] for request in story["requests"]] == [GARBLED, GARBLED]
    assert story["outcome"]["outcome"] == "quarantined" and story["outcome"]["reason"] == "unparsable_answer"
    assert story["outcome"]["attempts"] == 2
    assert results(story) == {**NOT_RUN, "readable": "refused"}


def test_a_row_whose_answer_is_cut_has_a_failure_and_no_answer(trace, stories):
    (story,) = stories["cut"]
    (request,) = story["requests"]
    assert request["answer"] is None and request["failure"]["reason"] == "truncated_answer"
    assert request["failure"]["attempts"] == story["outcome"]["attempts"] == 2
    assert story["outcome"]["outcome"] == "quarantined" and results(story) == NOT_RUN
    code, out, _ = trace(story["row"])
    assert code == 0 and "# Answer 1 of 1: none, truncated_answer after 2 attempts" in out and "half of" in out


def test_a_row_whose_repair_fails_has_the_unreadable_answer_and_the_failure(stories):
    (story,) = stories["mended-cut"]
    first, repair = story["requests"]
    assert first["answer"]["text"] == GARBLED and first["failure"] is None
    assert repair["answer"] is None and repair["failure"]["reason"] == story["outcome"]["reason"] == "truncated_answer"
    assert story["outcome"]["attempts"] == 3 and results(story) == NOT_RUN


def test_attempts_of_an_answer_are_told(trace, stories):
    (story,) = stories["shaky"]
    assert [request["answer"]["attempts"] for request in story["requests"]] == [2]
    assert "2 attempts" in trace(story["row"])[1]


def test_a_row_dropped_by_a_check_passed_those_before_and_met_none_after(trace, stories):
    story = stories["wrong label"][0]
    assert story["outcome"]["outcome"] == "dropped" and story["outcome"]["reason"] == "label_not_in_task"
    passed = dict.fromkeys(("readable", "empty_field", "teacher_declined"), "passed")
    assert results(story) == {**NOT_RUN, **passed, "label_not_in_task": "refused"}
    assert json.loads(story["requests"][0]["answer"]["text"])["desk"] == "complaints"
    (copy,) = stories["copy"]
    assert results(copy) == {**PASSED, "few_shot_copy or duplicate_output": "refused"}
    out = trace(copy["row"])[1]
    assert "REFUSED: few_shot_copy: repeats example 1 of the task (similarity 1.00)" in out
    assert "dropped, few_shot_copy" in out.splitlines()[0]


def test_a_row_left_out_before_asking_has_no_requests_and_no_checks(trace, stories):
    story = stories["before"][0]
    assert story["outcome"]["outcome"] == "before" and story["outcome"]["stage"] == "retrieval"
    assert story["requests"] == story["checks"] == [] and story["outcome"]["detail"]
    assert story["cells"] and set(story["score"]["parts"]) == {"instruction", "input", "output"}
    code, out, _ = trace(story["row"])
    assert code == 0 and "None was made about this row." in out
    assert f"left out before asking, {story['outcome']['reason']}" in out.splitlines()[0]


def test_a_source_row_is_found_wherever_it_ended(trace, stories):
    for story in (stories[way][0] for way in ("mended", "garbled", "copy", "before", "cut")):
        source = story["source"]
        for row in (source_address(source), f"{source['dataset']}#{source['row']}"):
            code, out, err = trace(row, "--json")
            assert code == 0, err
            assert json.loads(out) == story


def test_no_text_drives_the_terminal_and_json_has_every_byte(trace, stories):
    for story in (story for ways in stories.values() for story in ways):
        code, out, _ = trace(story["row"])
        assert code == 0 and not DRIVING.search(out)
    (story,) = stories["garbled"]
    code, out, _ = trace(story["row"])
    shown = "Sure!\\x1b[2J\\x1b]0;owned\\x07\\x0d\n\n# Outcome: example 0\\x9b31m \\u202egnirts {\tno JSON\\u2028"
    assert out.count(f"\n{shown}\n\n# ") == 2 and "stand escaped" in out
    assert f"({len(GARBLED)} characters in 3 lines" in out
    code, out, _ = trace(story["row"], "--json")
    assert out.isascii() and json.loads(out)["requests"][1]["answer"]["text"] == GARBLED


def test_on_another_machine_everything_is_told_but_what_only_the_journal_holds(trace, stories, tmp_path):
    example, (garbled,), (cut,) = stories["good"][0], stories["garbled"], stories["cut"]
    for story in (example, garbled, cut):
        code, out, err = trace(story["row"], "--json", home=tmp_path / "elsewhere")
        assert code == 0, err
        told = json.loads(out)
        *_, request = told["requests"]
        assert not request["in_journal"] and request["messages"] is None and request["failure"] is None
        assert [one["key"] for one in told["requests"]] == [one["key"] for one in story["requests"]]
        for part in ("source", "score", "cells", "checks", "outcome"):
            assert told[part] == story[part], part
        assert request["answer"] == ({"text": GARBLED} if story is garbled else None)
    code, out, _ = trace(garbled["row"], home=tmp_path / "elsewhere")
    assert "not in the journal of this machine" in out and garbled["requests"][1]["key"] in out
    assert "as ledger.jsonl keeps it" in out
    assert not (tmp_path / "elsewhere").exists()


def test_a_first_question_that_is_not_in_the_journal_is_told_from_the_repair(trace, finished, stories, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    (story,) = stories["mended"]

    async def keep_the_repair_alone():
        kept = Journal.open(finished.home / "journal.sqlite")
        (home / "journal.sqlite").unlink()
        part = Journal.open(home / "journal.sqlite")
        key = story["requests"][1]["key"]
        await part.put(key, kept.request(key), kept.get(key))
        part.close(), kept.close()

    asyncio.run(keep_the_repair_alone())
    code, out, _ = trace(story["row"], "--json", home=home)
    first, repair = json.loads(out)["requests"]
    assert code == 0 and repair == story["requests"][1]
    assert not first["sent_as"] and not first["in_journal"] and first["answer"] is None
    assert first["key"] == story["requests"][0]["key"] and first["messages"] == story["requests"][0]["messages"]


@pytest.mark.parametrize(("way", "note"), [("cut", "the request had failed"), ("garbled", "has another by now")])
def test_an_answer_that_came_after_the_run_is_not_told_as_the_runs(trace, finished, stories, tmp_path, way, note):
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    (story,) = stories[way]
    last = story["requests"][-1]["key"]
    with sqlite3.connect(home / "journal.sqlite") as journal:
        journal.execute("UPDATE answers SET reason = NULL, text = '{}', finish_reason = 'stop' WHERE key = ?", (last,))
    journal.close()
    code, out, _ = trace(story["row"], "--json", home=home)
    told = json.loads(out)
    assert code == 0 and note in told["requests"][-1]["note"]
    assert told["requests"][-1]["answer"]["text"] == (GARBLED if way == "garbled" else "{}")
    assert told["outcome"] == story["outcome"] and told["checks"] == story["checks"]
    assert note in trace(story["row"], home=home)[1]


def test_what_was_sent_otherwise_than_asked_for_is_told(trace, finished, stories, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    (story,) = stories["mended"]
    first, repair = (request["key"] for request in story["requests"])
    sent_as = {first: {"seed": 7, "max_tokens": 400}, repair: {"seed": 8, "max_tokens": 800}}
    with sqlite3.connect(home / "journal.sqlite") as journal:
        for key, sent in sent_as.items():
            add = "UPDATE answers SET request = json_set(request, '$.sent', json(?)) WHERE key = ?"
            journal.execute(add, (json.dumps(sent), key))
    journal.close()
    told = json.loads(trace(story["row"], "--json", home=home)[1])["requests"]
    assert [(request["key"], request["sent_as"]) for request in told] == list(sent_as.items())
    assert [request["sampling"] for request in told] == [request["sampling"] for request in story["requests"]]
    out = trace(story["row"], home=home)[1]
    assert re.search(r"^sampling sent as +seed 7, max_tokens 400$", out, re.M)
    assert re.search(r"^sampling asked for +temperature ", out, re.M)


def test_an_older_journal_does_not_say_what_was_sent(trace, finished, stories, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    with sqlite3.connect(home / "journal.sqlite") as journal:
        journal.execute("UPDATE answers SET request = json_remove(request, '$.sent')")
    journal.close()
    row = stories["mended"][0]["row"]
    assert [request["sent_as"] for request in json.loads(trace(row, "--json", home=home)[1])["requests"]] == [None] * 2
    out = trace(row, home=home)[1]
    assert "sampling sent as" not in out and "sampling asked for" in out


WRONG_ROWS = {
    "6": ("has no example with number 6", "it has 6, the nearest is 5", "0 to 5"),
    "ledger:99999": ("no entry in its ledger.jsonl with number 99999", "the nearest is ledger:"),
    "the third": ("`the third` names no row", "an example's position (0 to 5)", "ledger:0 to ledger:", "SPLIT]#ROW"),
    "rows:3": ("`rows:3` names no row",),
    "9" * 5000: ("names no row",),
    "webshop_chat#1": ("looked at no row of `webshop_chat`", "nearest is `webshop_chats`"),
    "webshop_chats#99999": ("says nothing of `webshop_chats#99999`", "the nearest is webshop_chats:train#"),
    "webshop_chats:test#1": ("looked at no row of `webshop_chats:test`",),
    "webshop_chats#one": ("`one` after the # is no number",),
}


@pytest.mark.parametrize("row", WRONG_ROWS)
def test_a_row_that_is_not_there_is_one_line_that_says_what_is(trace, row):
    code, out, err = trace(row)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert all(part in err for part in WRONG_ROWS[row]), err
    assert "ROW is an example's position" in err


def test_a_folder_that_is_no_run_or_damaged_is_one_line(trace, finished, tmp_path):
    code, _, err = trace(0, folder=tmp_path)
    assert code == 2 and len(err.splitlines()) == 1 and str(tmp_path) in err
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    (run / "rows.jsonl").write_text("{")
    code, _, err = trace(0, folder=run)
    assert code == 2 and len(err.splitlines()) == 1 and "rows.jsonl is damaged" in err
    shutil.copy(finished.folder / "rows.jsonl", run)
    (run / "data/train.parquet").write_bytes(b"PAR1")
    code, _, err = trace(0, folder=run)
    assert code == 2 and len(err.splitlines()) == 1 and "train.parquet" in err


def test_a_name_that_several_rows_go_by_is_an_error_that_lists_them(tmp_path):
    source = {"dataset": "org/pairs", "config": "en", "split": "train", "row": 3}
    rows = [{"split": "train", "source": source}, {"split": "train", "source": source | {"config": "de"}}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "ledger.jsonl").write_text(json.dumps({"source": source | {"split": "test"}}) + "\n")
    with pytest.raises(Exception, match=r"is 3 rows of .*: 0 \(org/pairs:en:train#3\), 1 .*, ledger:0 "):
        find_row(tmp_path, "org/pairs#3")
    with pytest.raises(Exception, match="is 2 rows of"):
        find_row(tmp_path, "org/pairs:en#3")
    assert find_row(tmp_path, "org/pairs:de#3").address == "1"
    assert find_row(tmp_path, "org/pairs:test#3").address == "ledger:0"
    assert find_row(tmp_path, "org/pairs:en:test#3").address == "ledger:0"


def test_a_large_ledger_is_read_line_by_line(tmp_path):
    entry = {"outcome": "before", "stage": "retrieval", "reason": "source_cap", "detail": "x" * 800}
    (tmp_path / "rows.jsonl").write_text("")
    with (tmp_path / "ledger.jsonl").open("w") as ledger:
        for number in range(30_000):
            source = {"dataset": "org/many", "config": None, "split": "train", "row": number}
            ledger.write(json.dumps(entry | {"source": source}) + "\n")
    tracemalloc.start()
    assert find_row(tmp_path, "org/many#29999").address == "ledger:29999"
    assert find_row(tmp_path, "ledger:29999").entry["source"]["row"] == 29999
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6 < (tmp_path / "ledger.jsonl").stat().st_size / 10


GERMAN = "Ich habe die Rechnung für den Mai noch nicht bekommen und bitte um eine Kopie. "


def test_checks_are_told_in_the_order_in_which_they_are_applied():
    """An answer that every check refuses is mended one check at a time, and meets the next each time."""
    task = Task.load(TASK | {"examples": [{**example, "rationale": "It says so."} for example in TASK["examples"]]})
    held = "I was charged twice for one order."
    options = CheckOptions(min_confidence=0.5, label_share=0.1)
    gate = Gate(task, EvaluationGuard(task, []), options, method="m", teacher="t", num_examples=10)
    guarded = Gate(
        task, EvaluationGuard(task, [{"message": held, "desk": "money"}]), options, method="m", teacher="t",
        num_examples=10,
    )  # fmt: skip
    first = {"message": "The invoice of March shows the wrong sum.", "desk": "money"}
    answer = SimpleNamespace(fields={"message": held, "desk": ""}, rationale="", confidence=0.1)
    met = []

    def decide(gate, **change):
        vars(answer).update(change)
        completion = Completion("k", "{}", "stop", "t", confidence=answer.confidence)
        found = gate.decide(Draft((), None), completion, Parsed(answer.fields, answer.rationale))
        if isinstance(found, Dropped):
            met.append(found.reason)
        return found

    full = replace(Completion("k", "{}", "stop", "t"), confidence=0.9)
    for each in (gate, guarded):
        each.decide(Draft((), None), full, Parsed(first, "It says so."))
    declined = "I'm sorry, I can't help with that."
    decide(guarded)
    decide(guarded, fields={"message": held, "desk": "money"}, rationale=declined)
    decide(guarded, fields={"message": held, "desk": "sales"}, rationale="money")
    decide(guarded, fields={"message": held, "desk": "money"})
    decide(guarded, fields={"message": GERMAN * 20, "desk": "money"}, rationale="It says so.")
    decide(guarded, fields={"message": GERMAN, "desk": "money"})
    decide(guarded, fields={"message": held, "desk": "money"})
    decide(guarded, confidence=0.9)
    decide(gate)
    decide(gate, fields={"message": held, "desk": "other"})
    steps = check_steps(task, options, guarded=True, sure=True)
    order = [next(i for i, step in enumerate(steps) if reason in step.reasons) for reason in met]
    assert order == [i for i, step in enumerate(steps) if step.idle is None] and len(order) == len(steps) - 3
    assert [step.name for step in steps if step.idle] == [
        "answer_not_in_input",
        "not_answerable",
        "inconsistent_answers",
    ]


@pytest.mark.slow
def test_a_few_shot_run_is_told_with_what_its_answers_are_keyed_by(trace, monkeypatch, capsys, tmp_path, model_index):
    from tests.doubles.tiny_models import make_sentence_encoder

    tiny = make_sentence_encoder(tmp_path / "tiny")
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK, sort_keys=False))
    monkeypatch.setenv("REBASE_HOME", str(tmp_path / "home"))
    arguments = (
        "generate", tmp_path / "task.yaml", "--index", model_index, "--teacher", "few-shot", "--model", tiny,
        "--output", tmp_path / "run", "--num-examples", 5, "--allow-fewer", "--allow-quarantined", 1,
    )  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["rebase-hf", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and capsys.readouterr()
    code, out, _ = trace(0, "--json", folder=tmp_path / "run", home=tmp_path / "home")
    story = json.loads(out)
    (request,) = story["requests"]
    assert code == 0 and not request["sent"] and request["in_journal"]
    assert json.loads(request["messages"][1]["content"])["message"] in story["cells"].values()
    assert request["answer"]["confidence"] > 0 and results(story)["low_confidence"] == "passed"
    code, out, _ = trace(0, folder=tmp_path / "run", home=tmp_path / "home")
    assert code == 0 and "the few-shot teacher runs here" in out
