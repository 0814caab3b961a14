import asyncio
from dataclasses import replace

import pytest

from rebase_hf.errors import TeacherUnavailable
from rebase_hf.rows import Message, RetrievedRow, Sampling, SourceRow
from rebase_hf.teacher.asking import (
    TeacherIdentity,
    clean_text,
    identify,
    merge_sampling,
    open_teacher,
    request_content,
    request_key,
)
from rebase_hf.teacher.target import Teacher
from tests.doubles.tgi_server import TGIServer
from tests.teacher.asks import TASK, ask, draft

WHO = TeacherIdentity("test/teacher", "abc", "endpoint")


def test_the_key_of_a_request_is_pinned():
    # A key that changes makes every journal worthless: this digest must never change by accident.
    key = request_key(WHO, draft(1), Sampling(temperature=0.7, max_tokens=64))
    assert key == "14539faf6b417808d86516d2463f5ef2162579f89495fa67c62bdfea07c28ab5"


@pytest.mark.parametrize(
    "other",
    [
        (replace(WHO, model="test/other"), draft(1), Sampling()),
        (replace(WHO, revision="abd"), draft(1), Sampling()),
        (WHO, draft(2), Sampling()),
        (WHO, replace(draft(1), sample=1), Sampling()),
        (WHO, replace(draft(1), repair=1), Sampling()),
        (WHO, replace(draft(1), schema=None), Sampling()),
        (WHO, replace(draft(1), messages=(Message("user", draft(1).messages[1].content),)), Sampling()),
        (WHO, draft(1), Sampling(temperature=0.5)),
        (WHO, draft(1), Sampling(max_tokens=7)),
        (WHO, draft(1), Sampling(seed=7)),
        (WHO, draft(1), Sampling(top_p=0.5)),
    ],
)
def test_whatever_decides_an_answer_decides_the_key(other):
    assert request_key(*other) != request_key(WHO, draft(1), Sampling())


def test_the_row_and_the_kind_of_teacher_are_not_in_the_key():
    source = SourceRow("d", None, "train", None, 3, None, None, {"a": "b"})
    same = replace(draft(1), row=RetrievedRow(source, 0.5), shots=(("shot", source),))
    assert request_key(replace(WHO, kind="local"), same, Sampling()) == request_key(WHO, draft(1), Sampling())


def test_the_users_sampling_wins_over_the_methods():
    merged = merge_sampling(Teacher("local:m", temperature=0.0), Sampling(temperature=1.0, max_tokens=9, seed=4))
    assert merged == Sampling(temperature=0.0, max_tokens=9, seed=4)


def test_lone_surrogates_never_reach_a_server_or_the_journal():
    content = request_content(WHO, draft(text="a\ud800b \U0001f600 \udfff"), Sampling())
    assert content["messages"][1]["content"] == "a\ufffdb \U0001f600 \ufffd"
    assert clean_text("plain") == "plain"


def test_address_and_concurrency_do_not_change_what_is_asked_and_the_model_does(tmp_path):
    with TGIServer() as first:
        ask(first.url, [draft(1)], tmp_path / "j")
    with TGIServer() as second:
        ask(Teacher(second.url, max_concurrency=1, timeout=7.0), [draft(1)], tmp_path / "j")
        assert second.chat_requests == []
    with TGIServer(model_id="test/other") as third:
        ask(third.url, [draft(1)], tmp_path / "j")
        assert len(third.chat_requests) == 1


def test_identify_asks_nothing_that_costs():
    with TGIServer() as server:
        identity = identify(server.url, TASK)
        assert identity == TeacherIdentity("test/teacher", server.model_sha, "endpoint")
        assert server.chat_requests == []


@pytest.mark.slow
def test_an_endpoint_that_is_down_is_known_by_who_was_last_seen_there(caplog):
    with TGIServer() as server:
        before = identify(server.url, TASK)
    assert identify(server.url, TASK) == before
    assert "last seen" in caplog.text


@pytest.mark.slow
def test_an_address_where_nothing_ever_answered_is_unavailable():
    with TGIServer() as server:
        url = server.url
    with pytest.raises(TeacherUnavailable, match=rf"No teacher answers at {url} .*--teacher"):
        identify(url, TASK)


@pytest.mark.slow
def test_what_the_journal_holds_needs_no_server_and_what_it_lacks_does(tmp_path):
    with TGIServer() as server:
        (before,), _ = ask(server.url, [draft(1)], tmp_path / "j")
    (after,), asker = ask(server.url, [draft(1)], tmp_path / "j")
    assert after == before
    assert (asker.usage.requests, asker.usage.from_journal) == (0, 1)
    with pytest.raises(TeacherUnavailable, match=server.url):
        ask(server.url, [draft(2)], tmp_path / "j")


@pytest.mark.slow
def test_a_server_that_now_serves_another_model_is_not_mistaken_for_the_one_last_seen(tmp_path):
    from rebase_hf.errors import TeacherRefused
    from rebase_hf.teacher.journal import Journal

    with TGIServer() as server:
        identify(server.url, TASK)
        port = int(server.url.rpartition(":")[2])

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(server.url, TASK, journal)
        try:
            with TGIServer(model_id="test/other", port=port):
                await asker.ask(draft(1))
        finally:
            await asker.close()
            journal.close()

    with pytest.raises(TeacherRefused, match="test/other"):
        asyncio.run(run())
