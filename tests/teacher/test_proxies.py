import os

import pytest
from huggingface_hub import close_session

from rebase_hf.errors import TeacherRefused
from rebase_hf.rows import Completion
from rebase_hf.teacher.asking import identify
from rebase_hf.teacher.proxies import proxy_for
from tests.doubles.hosted_server import ENDPOINT_HOST, HostedServer
from tests.doubles.tgi_server import TGIServer
from tests.teacher.asks import TASK, ask, draft

URL = "http://desk.example:8080/v1"


@pytest.fixture
def proxies(monkeypatch, home):
    """Set the variables that name proxies, and no others."""

    def set_alone(**variables):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        close_session()  # huggingface_hub's client is made anew

    yield set_alone
    close_session()


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"http_proxy": "http://one:3128"}, "http://one:3128"),
        ({"HTTP_PROXY": "one:3128"}, "http://one:3128"),
        ({"http_proxy": "user:word@one:3128"}, "http://user:word@one:3128"),
        ({"https_proxy": "http://one:3128"}, None),
        ({"ALL_PROXY": "one:3128"}, "http://one:3128"),
        ({"ALL_PROXY": "http://all:1", "http_proxy": "https://one:1"}, "https://one:1"),
        ({"ALL_PROXY": "one:3128", "NO_PROXY": "desk.example"}, None),
        ({"ALL_PROXY": "one:3128", "NO_PROXY": "desk.example:8080"}, None),
        ({"ALL_PROXY": "one:3128", "NO_PROXY": "desk.example:9"}, "http://one:3128"),
        ({"ALL_PROXY": "one:3128", "NO_PROXY": ".example"}, None),
        ({"ALL_PROXY": "one:3128", "no_proxy": "*"}, None),
        ({"ALL_PROXY": "socks5://one:1080", "no_proxy": "desk.example"}, None),
    ],
)
def test_an_address_is_reached_through_the_proxy_that_is_named_for_it(proxies, variables, proxy):
    proxies(**variables)
    assert proxy_for(URL) == proxy


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_this_machine_is_reached_without_a_proxy(proxies, url):
    proxies(ALL_PROXY="socks5://one:1080")
    assert proxy_for(url) is None


@pytest.mark.parametrize("value", ["ftp://canary:3128", "http://", "http://user:canary@:3128", "http://canary:port"])
def test_what_is_no_http_proxy_is_refused_without_showing_it(proxies, value):
    proxies(http_proxy=value)
    with pytest.raises(
        TeacherRefused, match=r"\(http_proxy\) is not the address of an HTTP proxy; expected"
    ) as caught:
        proxy_for(URL)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize("kind", ["socks5", "socks5h", "SOCKS4"])
def test_a_socks_proxy_is_one_line_that_names_its_variable(proxies, tmp_path, variable, kind):
    proxies(**{variable: f"{kind}://user:canary@127.0.0.1:1"})
    with TGIServer() as server:
        address = server.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - what connects to it comes here
        with pytest.raises(TeacherRefused, match=rf"\({variable}\) is a SOCKS proxy.*NO_PROXY=0\.0\.0\.0") as caught:
            ask(address, [draft(1)], tmp_path / "j")
        assert server.requests == []
    assert "\n" not in str(caught.value) and "canary" not in str(caught.value)


def test_a_socks_proxy_does_not_matter_to_a_server_that_needs_none(proxies, tmp_path):
    proxies(ALL_PROXY="socks5://127.0.0.1:1", NO_PROXY="0.0.0.0")  # noqa: S104 - as above
    with TGIServer() as server:
        (answer,), _ = ask(server.url.replace("127.0.0.1", "0.0.0.0"), [draft(1)], tmp_path / "j")  # noqa: S104
    assert isinstance(answer, Completion)


def test_a_socks_proxy_beside_what_hugging_face_hosts_is_one_line(proxies, monkeypatch):
    proxies(ALL_PROXY="socks5://127.0.0.1:1")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with pytest.raises(TeacherRefused, match=r"The proxy for Hugging Face \(ALL_PROXY\) is a SOCKS proxy") as caught:
        identify("endpoint:me/mine", TASK)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", [f"https://{ENDPOINT_HOST}", "endpoint:me/mine"])
def test_a_proxy_without_a_scheme_leads_the_probe_and_the_requests(proxies, monkeypatch, tmp_path, target):
    with HostedServer() as server:
        proxy = server.environment["https_proxy"].removeprefix("http://")
        proxies(https_proxy=proxy)
        monkeypatch.setenv("SSL_CERT_FILE", server.environment["SSL_CERT_FILE"])
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        (answer,), _ = ask(target, [draft(1)], tmp_path / "j")
        assert isinstance(answer, Completion)
        assert {"/info", "/v1/models"} <= {r.path for r in server.asked("GET", ENDPOINT_HOST)}
        assert [r.path for r in server.asked("POST", ENDPOINT_HOST)] == ["/v1/chat/completions"]
