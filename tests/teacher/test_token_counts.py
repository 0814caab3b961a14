import pytest

from rebase_hf.teacher.dialects import probe
from rebase_hf.teacher.target import Teacher
from rebase_hf.teacher.token_counts import count_tokens
from tests.doubles.tgi_server import TGIServer, status

PROMPTS = [
    [{"role": "user", "content": "x" * 40}],
    [{"role": "user", "content": "y" * 10}, {"role": "assistant", "content": "z" * 30}],
]


@pytest.mark.parametrize("kind", ["tgi", "vllm", "llama.cpp"])
def test_a_server_that_counts_tokens_is_asked_for_them_and_nothing_else(home, kind):
    with TGIServer(kind=kind) as server:
        teacher = Teacher(server.url)
        probe(teacher)
        assert count_tokens(teacher, PROMPTS) in ([10, 11], [10, 10])  # turns are counted one by one, or together
        assert not server.chat_requests


def test_the_key_is_sent_along(home, monkeypatch):
    monkeypatch.setenv("COUNT_KEY", "right")
    with TGIServer(api_key="right") as server:
        teacher = Teacher(server.url, api_key_env="COUNT_KEY")
        probe(teacher)
        assert count_tokens(teacher, PROMPTS) == [10, 11]


@pytest.mark.parametrize(
    "reply", [status(404, ""), status(200, "no JSON"), status(200, {"tokens": 3}), status(200, [1]), status(500, "")]
)
def test_a_server_that_does_not_count_is_no_error(home, reply):
    with TGIServer() as server:
        teacher = Teacher(server.url)
        probe(teacher)
        server.routes["/chat_tokenize"] = reply
        assert count_tokens(teacher, PROMPTS) is None
    assert count_tokens(teacher, PROMPTS) is None


@pytest.mark.parametrize("kind", ["transformers", "bare"])
def test_servers_without_such_a_route_are_not_asked(home, kind):
    with TGIServer(kind=kind) as server:
        teacher = Teacher(server.url, model="test/teacher")
        probe(teacher)
        sent = len(server.requests)
        assert count_tokens(teacher, PROMPTS) is None and len(server.requests) == sent
    assert count_tokens(Teacher("some/model"), PROMPTS) is None
