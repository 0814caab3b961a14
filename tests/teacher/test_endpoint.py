import asyncio
import gc
import json
import logging
import os
import pickle
import re
import time

import pytest

from rebase_hf.errors import JournalError, TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Completion, Sampling
from rebase_hf.teacher.asking import BudgetReached, Halted, Unanswered, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.target import Teacher
from tests.doubles.tgi_server import CUT, HANG, RESET, Answer, TGIServer, answer_from_prompt, raw, status
from tests.teacher.asks import TASK, ask, ask_all, draft

UNTOLD = {"routes": {"/info": status(404, "")}}  # a server that does not tell its limit


def run_with(teacher, tmp_path, work, **settings):
    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(teacher, TASK, journal, **settings)
        try:
            return await work(asker)
        finally:
            await asker.close()
            journal.close()

    return asyncio.run(run())


def test_an_answer_says_who_gave_it_and_what_it_took(tmp_path):
    with TGIServer() as server:
        (answer,), asker = ask(Teacher(server.url, price_per_million=(1.0, 2.0)), [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)["message"] == "parcel number 1 has not come"
    assert (answer.finish_reason, answer.model) == ("stop", "test/teacher")
    usage = asker.usage
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens) == (
        1,
        answer.prompt_tokens,
        answer.completion_tokens,
    )
    assert usage.cost == pytest.approx((answer.prompt_tokens + 2 * answer.completion_tokens) / 1e6)


def test_an_answer_is_in_the_journal_before_it_is_returned(tmp_path):
    async def work(asker):
        answer = await asker.ask(draft(1))
        other = Journal.open(tmp_path / "j")
        found, sent = other.get(answer.key), other.request(answer.key)
        other.close()
        return answer, found, sent

    with TGIServer() as server:
        answer, found, sent = run_with(server.url, tmp_path, work)
    assert found == answer
    assert sent["messages"] == server.chat_requests[0]["messages"]


def test_two_asks_of_one_request_share_it(tmp_path):
    async def work(asker):
        return await asyncio.gather(*(asker.ask(draft(1)) for _ in range(5)))

    with TGIServer(latency=0.05) as server:
        answers = run_with(server.url, tmp_path, work)
        assert len(server.chat_requests) == 1
    assert len(set(answers)) == 1


def test_who_shares_a_request_goes_on_when_the_one_who_sent_it_is_cancelled(tmp_path):
    async def work(asker):
        first = asyncio.create_task(asker.ask(draft(1)))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(asker.ask(draft(1)))
        await asyncio.sleep(0.05)
        first.cancel()
        return await second

    with TGIServer(latency=0.2) as server:
        assert run_with(server.url, tmp_path, work).model == "test/teacher"


def test_each_draw_of_a_prompt_has_a_seed_of_its_own_and_the_same_one_again(tmp_path):
    drafts = [draft(1, sample=n) for n in range(3)]
    with TGIServer() as server:
        ask(server.url, drafts, tmp_path / "one")
        ask(server.url, drafts, tmp_path / "two")
        seeds = [body["seed"] for body in server.chat_requests]
    assert len(set(seeds)) == 3
    assert sorted(seeds[:3]) == sorted(seeds[3:])


def test_an_answer_that_is_cut_is_asked_for_once_more_with_twice_the_room(tmp_path):
    with TGIServer() as server:
        fits, cut = draft(1, sampling=Sampling(max_tokens=10)), draft(1, sampling=Sampling(max_tokens=3))
        (answer,), _ = ask(server.url, [fits], tmp_path / "j")
        (failure,), _ = ask(server.url, [cut], tmp_path / "j")
        assert [body["max_tokens"] for body in server.chat_requests] == [10, 20, 3, 6]
    assert json.loads(answer.text)["team"]
    assert isinstance(failure, Unanswered)
    assert (failure.reason, failure.attempts) == ("truncated_answer", 2)


def test_whole_json_is_not_cut_whatever_the_finish_reason(tmp_path):
    with TGIServer(lambda request, _: Answer(answer_from_prompt(request), "length")) as server:
        (answer,), asker = ask(server.url, [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)
    assert asker.usage.requests == 1


def test_a_lone_surrogate_in_an_answer_is_replaced(tmp_path):
    body = rb'{"choices": [{"message": {"content": "a\ud800b"}, "finish_reason": "stop"}]}'
    with TGIServer(lambda *_: raw(body)) as server:
        (answer,), _ = ask(server.url, [draft(text="c\udfffd", schema=None)], tmp_path / "j")
        assert server.chat_requests[0]["messages"][1]["content"] == "c\ufffdd"
    assert answer.text == "a\ufffdb"


def test_retry_after_is_honoured(tmp_path):
    times = []

    def answer(request, call):
        times.append(time.monotonic())
        return status(503, retry_after="1") if call == 1 else answer_from_prompt(request)

    with TGIServer(answer) as server:
        ask(server.url, [draft(1)], tmp_path / "j")
    assert 1.0 <= times[1] - times[0] < 2.0


def test_a_server_that_takes_few_is_not_stormed(tmp_path):
    with TGIServer(latency=0.02, max_concurrent_requests=8, **UNTOLD) as server:
        outcomes, asker = ask(Teacher(server.url, dialect="tgi"), [draft(n) for n in range(300)], tmp_path / "j")
        assert server.turned_away < 100
        assert server.most_in_flight == 8
    assert not [outcome for outcome in outcomes if isinstance(outcome, Unanswered)]
    assert asker.usage.refused == server.turned_away


def test_no_more_are_in_flight_than_the_user_allows(tmp_path):
    with TGIServer(latency=0.02) as server:
        ask(Teacher(server.url, max_concurrency=3), [draft(n) for n in range(30)], tmp_path / "j")
        assert server.most_in_flight == 3


def test_nothing_for_too_long_ends_the_run_and_it_can_go_on_from_there(tmp_path):
    def answer(request, _):
        return status(503) if down else answer_from_prompt(request)

    with TGIServer(answer) as server:
        down = False
        ask(server.url, [draft(0)], tmp_path / "j")
        down = True
        with pytest.raises(TeacherUnavailable, match=rf"{server.url} gave no answer for 0\.5 s.*run the same command"):
            ask(server.url, [draft(n) for n in range(5)], tmp_path / "j", give_up_after=0.5)
        down = False
        outcomes, asker = ask(server.url, [draft(n) for n in range(5)], tmp_path / "j")
    assert len(outcomes) == 5
    assert (asker.usage.from_journal, asker.usage.requests) == (1, 4)


def test_a_server_that_goes_away_in_the_middle_is_waited_for(tmp_path):
    async def work(asker):
        port = int(server.url.rpartition(":")[2])
        await asker.ask(draft(1))
        server.__exit__()
        later = asyncio.create_task(asker.ask(draft(2)))
        await asyncio.sleep(0.3)
        with TGIServer(port=port) as again:
            return await later, len(again.chat_requests)

    server = TGIServer().__enter__()
    answer, asked = run_with(server.url, tmp_path, work)
    assert (answer.model, asked) == ("test/teacher", 1)


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ({"max_requests": 7}, 7),
        ({"max_tokens_total": 150}, 5),
        ({"max_cost": 150.0, "price_per_million": (1e6, 1e6)}, 5),
    ],
)
def test_a_budget_stops_the_run_and_a_higher_one_goes_on(limit, sent, tmp_path):
    # 29 tokens a request: 13 of them for the prompt, 16 for the answer. A sixth would go over the budget.
    with TGIServer() as server:
        with pytest.raises(BudgetReached, match="budget of"):
            ask(Teacher(server.url, max_concurrency=1, **limit), [draft(n) for n in range(30)], tmp_path / "j")
        assert len(server.chat_requests) == sent
        outcomes, asker = ask(server.url, [draft(n) for n in range(30)], tmp_path / "j")
    assert asker.usage.from_journal == sent
    assert asker.usage.requests == 30 - sent
    assert len(outcomes) == 30


def test_a_budget_of_requests_counts_what_is_sent_again(tmp_path):
    with (
        TGIServer(lambda *_: status(500)) as server,
        pytest.raises(BudgetReached, match="2 requests"),
    ):
        ask(Teacher(server.url, max_requests=2), [draft(1)], tmp_path / "j")
    assert len(server.chat_requests) == 2


def test_a_budget_of_tokens_is_used_up_whatever_is_in_flight(tmp_path):
    with TGIServer(latency=0.05) as server:
        with pytest.raises(BudgetReached, match="budget of 300 tokens has no room"):
            ask(Teacher(server.url, max_tokens_total=300), [draft(n) for n in range(100)], tmp_path / "j")
        assert len(server.chat_requests) == 10  # of 29 tokens each


def test_answers_that_grow_longer_do_not_get_round_a_budget(tmp_path):
    def answer(request, _):
        number = int(re.search(r"number (\d+)", request["messages"][-1]["content"])[1])
        return "x" * (40 if number < 60 else 800)  # 10 tokens, then 200

    with TGIServer(answer, latency=0.02, enforce_schema=False) as server:
        teacher = Teacher(server.url, max_tokens_total=4000, max_concurrency=64)
        with pytest.raises(BudgetReached, match="budget of 4000 tokens"):
            ask(teacher, [draft(n, schema=None) for n in range(200)], tmp_path / "j")
        used = sum(13 + (10 if n < 60 else 200) for n in range(len(server.chat_requests)))
    assert 3600 < used <= 4000 + 213  # by one answer at most


def test_nothing_is_sent_after_a_halt_by_those_who_waited_for_the_budget(tmp_path):
    async def work(asker):
        tasks = [asyncio.create_task(asker.ask(draft(n))) for n in range(20)]
        while len(server.chat_requests) < 2:
            await asyncio.sleep(0.01)
        asker.halt()
        sent = len(server.chat_requests)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(server.chat_requests) == sent

    with TGIServer(latency=0.2) as server:
        run_with(Teacher(server.url, max_tokens_total=700), tmp_path, work)


def test_a_server_that_tells_no_usage_does_not_get_round_a_budget(tmp_path, caplog):
    def answer(request, _):
        text = answer_from_prompt(request)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return status(200, {"choices": [choice]})

    with TGIServer(answer) as server:
        with pytest.raises(BudgetReached, match="budget of 300 tokens"):
            ask(Teacher(server.url, max_tokens_total=300), [draft(n) for n in range(100)], tmp_path / "j")
        assert 8 <= len(server.chat_requests) <= 12
    assert caplog.text.count("does not say how many tokens it uses") == 1


def test_what_was_spent_before_counts_and_the_limit_is_named_as_the_user_gave_it(tmp_path):
    with TGIServer() as server:
        with pytest.raises(BudgetReached, match=r"budget of 9 requests .* after 9 requests"):
            ask(
                Teacher(server.url, max_requests=9),
                [draft(n) for n in range(9)],
                tmp_path / "j",
                spent={"requests": 4},
            )
        assert len(server.chat_requests) == 5


def test_a_halted_teacher_answers_what_is_in_flight_and_sends_nothing_more(tmp_path):
    async def work(asker):
        tasks = [asyncio.create_task(asker.ask(draft(n))) for n in range(60)]
        while len(server.chat_requests) < 4:
            await asyncio.sleep(0.01)
        asker.halt()
        began = time.monotonic()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - began < 2
        return outcomes

    def answer(request, _):
        # One of the first is turned away, and would wait for a minute before it is asked again.
        return status(429, retry_after="60") if "number 1 " in request["messages"][-1]["content"] else "yes"

    with TGIServer(answer, latency=0.2, enforce_schema=False) as server:
        outcomes = run_with(Teacher(server.url, max_concurrency=4), tmp_path, work)
        assert len(server.chat_requests) == 4
    answered = [outcome for outcome in outcomes if isinstance(outcome, Completion)]
    assert len(answered) == 3
    assert sum(isinstance(outcome, Halted) for outcome in outcomes) == 57


def test_another_model_in_the_same_place_ends_the_run_instead_of_mixing_in(tmp_path):
    async def work(asker):
        port = int(server.url.rpartition(":")[2])
        await asker.ask(draft(1))
        server.__exit__()
        later = asyncio.create_task(asker.ask(draft(2)))
        await asyncio.sleep(0.3)
        with TGIServer(port=port, model_id="test/another") as again:
            with pytest.raises(TeacherRefused, match="now serves `test/another`.*began with `test/teacher`"):
                await later
            return len(again.chat_requests)

    server = TGIServer().__enter__()
    assert run_with(server.url, tmp_path, work) == 0


def test_nothing_is_sent_once_the_journal_can_not_be_written(tmp_path):
    async def work(asker):
        await asker.ask(draft(0))
        os.chmod(tmp_path / "j", 0o444)
        connection = asker._journal._connection()
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        connection.commit()
        with pytest.raises(JournalError, match="disk is full"):
            await asker.ask(draft(1))
        for number in range(2, 6):
            with pytest.raises(JournalError, match="disk is full"):
                await asker.ask(draft(number))
        return len(server.chat_requests)

    with TGIServer() as server:
        assert run_with(server.url, tmp_path, work) == 2


def test_open_files_are_as_at_the_start_after_many_faults(tmp_path):
    faults = [status(500), HANG, raw(b"{"), status(422), RESET, CUT]

    def answer(request, _):
        number = re.search(r"number (\d+)", request["messages"][-1]["content"])
        return faults[int(number[1]) % len(faults)] if number else answer_from_prompt(request)

    async def work(asker):
        await ask_all(asker, [draft(n) for n in range(40)])
        return asker

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with TGIServer(answer) as server:
        run_with(Teacher(server.url, timeout=0.2), tmp_path, work)
    until = time.monotonic() + 5  # the double's own threads let go of theirs
    while (after := len(os.listdir("/proc/self/fd"))) > before and time.monotonic() < until:
        time.sleep(0.05)
    assert after <= before


def test_offline_mode_of_the_hub_does_not_bar_a_server_here(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with TGIServer() as server:
        (answer,), _ = ask(server.url, [draft(1)], tmp_path / "j")
    assert answer.model == "test/teacher"


CANARY = "sk-canary-0123456789"


def test_a_key_is_sent_and_stands_nowhere_else(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", CANARY)
    monkeypatch.setenv("HF_DEBUG", "1")
    caplog.set_level(logging.DEBUG)

    async def work(asker):
        answer = await asker.ask(draft(1))
        with pytest.raises(Unanswered) as quarantined:
            await asker.ask(draft(2))
        with pytest.raises(TeacherRefused) as refused:
            await asker.ask(draft(3))
        with pytest.raises(TypeError, match="pickle") as unpicklable:
            pickle.dumps(asker)
        shown = [repr(asker), str(vars(refused.value)), repr(refused.value), str(quarantined.value), str(unpicklable)]
        assert refused.value.__cause__ is None
        assert refused.value.__context__ is None
        return answer, shown

    def answer(request, _):
        number = request["messages"][-1]["content"].split()[3]
        return {"2": status(422, f"bad {CANARY}"), "3": status(404, f"wrong key {CANARY}")}.get(
            number, answer_from_prompt(request)
        )

    teacher = None
    with TGIServer(answer, api_key=CANARY) as server:
        teacher = Teacher(server.url, api_key_env="MY_KEY")
        _, shown = run_with(teacher, tmp_path, work)
        assert server.requests[-1].headers["authorization"] == f"Bearer {CANARY}"
    home = os.environ["REBASE_HOME"]
    files = [os.path.join(d, f) for folder in (home, tmp_path) for d, _, names in os.walk(folder) for f in names]
    for file in files:
        with open(file, "rb") as stream:
            assert CANARY.encode() not in stream.read(), file
    for text in [*shown, repr(teacher), caplog.text]:
        assert CANARY not in text
    assert CANARY.encode() not in pickle.dumps(teacher)


def test_a_wrong_key_is_refused_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "wrong")
    with (
        TGIServer(api_key="right") as server,
        pytest.raises(TeacherRefused, match=r"401: its key is missing or wrong.*--api-key-env"),
    ):
        ask(Teacher(server.url, api_key_env="MY_KEY"), [draft(n) for n in range(5)], tmp_path / "j")


def test_the_saved_hugging_face_token_is_not_sent_to_a_server_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary0123456789")
    with TGIServer() as server:
        ask(server.url, [draft(1)], tmp_path / "j")
        assert len(server.chat_requests) == 1
        sent = [value for request in server.requests for value in request.headers.values()]
    assert not [value for value in sent if "0123456789" in value]
