import pickle

import pytest

from rebase_hf.errors import TeacherRefused
from rebase_hf.teacher.target import NO_KEY, Teacher, find_key, shown, takes_hf_token


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("http://127.0.0.1:8080", "endpoint"),
        ("https://x.endpoints.huggingface.cloud/v1", "endpoint"),
        ("few-shot", "few-shot"),
        ("local:/models/tiny", "local"),
        ("local:org/model", "local"),
        ("endpoint:me/mine", "hf-endpoint"),
        ("Qwen/Qwen3-8B", "provider"),
    ],
)
def test_the_target_tells_what_kind_of_teacher_it_is(target, kind):
    assert Teacher(target).kind == kind


def test_an_address_without_a_scheme_is_refused_with_the_address_that_was_meant():
    with pytest.raises(TeacherRefused, match=r"Did you mean http://127\.0\.0\.1:8080\?"):
        _ = Teacher("127.0.0.1:8080").kind


@pytest.mark.parametrize("address", ["http://user:canary@host:1/v1", "http://host/?api_key=canary"])
def test_an_address_that_holds_a_secret_is_refused_without_showing_it(address):
    with pytest.raises(TeacherRefused, match="--api-key-env") as caught:
        Teacher(address)
    assert "canary" not in str(caught.value)
    assert "canary" not in shown(address)


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(TypeError, match="max_requests=0"):
        Teacher("few-shot", max_requests=0)
    with pytest.raises(TypeError, match="price_per_million"):
        Teacher("few-shot", max_cost=1.0)


def test_settings_survive_a_pickle():
    teacher = Teacher(
        "http://127.0.0.1:1", model="m", api_key_env="MY_KEY", max_cost=2.0, price_per_million=(1.0, 3.0)
    )
    assert pickle.loads(pickle.dumps(teacher)) == teacher  # noqa: S301


def test_a_key_that_is_not_set_names_its_variable(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(TeacherRefused, match="MY_KEY"):
        find_key(Teacher("http://127.0.0.1:1", api_key_env="MY_KEY"), "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://abc.us-east-1.aws.endpoints.huggingface.cloud", True),
        ("https://router.huggingface.co/v1", True),
        ("http://abc.us-east-1.aws.endpoints.huggingface.cloud", False),
        ("https://router.huggingface.co.evil.example", False),
        ("https://evil-router.huggingface.co", False),
        ("https://me-mine.hf.space", False),
        ("http://127.0.0.1:8080", False),
    ],
)
def test_the_hugging_face_token_goes_to_hugging_face_hosts_only(url, goes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_saved")
    assert takes_hf_token(url) is goes
    assert find_key(Teacher(url), url) == ("hf_saved" if goes else NO_KEY)
    if goes:
        assert find_key(Teacher(url), url, "hf_given") == "hf_given"
    else:
        with pytest.raises(TeacherRefused, match="not sent there.*--api-key-env") as caught:
            find_key(Teacher(url), url, "hf_given")
        assert "hf_" not in str(caught.value)
    assert find_key(Teacher(url), url, "own-key") == "own-key"


def test_a_variable_that_is_named_wins_over_the_token(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-mine")
    teacher = Teacher("http://127.0.0.1:1", api_key_env="MY_KEY")
    assert find_key(teacher, teacher.target, "hf_given") == find_key(teacher, teacher.target, "other") == "sk-mine"


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1", "https://router.huggingface.co/v1"])
def test_a_token_that_no_header_can_hold_is_refused_unshown(url):
    with pytest.raises(TeacherRefused, match=r"\(token=\) holds characters that no key has") as caught:
        find_key(Teacher("http://127.0.0.1:1"), url, "canary\nX-More: 1")
    assert "canary" not in str(caught.value)


TARGETS = {
    "endpoint": "http://127.0.0.1:1",
    "provider": "org/model",
    "hf-endpoint": "endpoint:me/mine",
    "local": "local:org/model",
    "few-shot": "few-shot",
}
SERVERS = {"endpoint", "provider", "hf-endpoint", "local"}


@pytest.mark.parametrize(
    ("option", "value", "kinds"),
    [
        ("model", "m", {"endpoint", "hf-endpoint", "few-shot"}),
        ("api_key_env", "MY_KEY", {"endpoint", "provider", "hf-endpoint"}),
        ("provider", "groq", {"provider"}),
        ("bill_to", "org", {"provider"}),
        ("pause_after", True, {"hf-endpoint"}),
        ("temperature", 0.0, SERVERS),
        ("max_tokens", 9, SERVERS),
        ("max_concurrency", 9, SERVERS),
        ("timeout", 9.0, SERVERS),
        ("dialect", "none", SERVERS),
        ("max_requests", 9, set(TARGETS)),
        ("max_tokens_total", 9, set(TARGETS)),
        ("price_per_million", (1.0, 1.0), set(TARGETS)),
    ],
)
def test_an_option_that_would_do_nothing_is_refused_with_what_it_belongs_to(option, value, kinds):
    for kind, target in TARGETS.items():
        if kind in kinds:
            assert getattr(Teacher(target, **{option: value}), option) == value
        else:
            with pytest.raises(TypeError, match=rf"Teacher\({option}=...\) does nothing for `{target}`") as caught:
                Teacher(target, **{option: value})
            assert f"--{option.replace('_', '-')}" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_the_line_about_an_idle_option_tells_the_kinds_of_target():
    with pytest.raises(TypeError, match="which is a URL: it belongs to a model id. Leave it out"):
        Teacher("http://127.0.0.1:1", bill_to="org")


def test_what_an_option_is_by_default_may_be_said_for_any_target():
    for target in TARGETS.values():
        assert Teacher(target, provider="auto", pause_after=False, model=None, timeout=120.0) == Teacher(target)


def test_a_target_of_no_known_form_is_told_as_such_whatever_the_options():
    with pytest.raises(TeacherRefused, match="is not known"):
        _ = Teacher("127.0.0.1:8080", bill_to="org").kind
