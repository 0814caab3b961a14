"""What a token may do is known before anything is paid: told by `whoami`, in the shape that the Hub gives it."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.doubles.hub_server import HubServer
from tests.publish.test_hub import TRY

OnHub = Callable[..., Any]
FINE = "hf_testFineGrained"
WRITE = "repo.write"


def grant(hub: HubServer, *scopes: tuple[str, str, Iterable[str]], everywhere: Iterable[str] = ()) -> str:
    """Make a fine-grained token of the user."""
    scoped = [{"entity": {"type": kind, "name": name}, "permissions": list(may)} for kind, name, may in scopes]
    hub.grants[FINE] = {"canReadGatedRepos": True, "global": list(everywhere), "scoped": scoped}
    return FINE


@pytest.mark.parametrize(
    ("scopes", "everywhere", "allowed"),
    [
        ([("org", "org", ["repo.content.read", WRITE])], [], {"org/new", "org/mine"}),
        ([("user", "tester", [WRITE])], [], {"tester/new"}),
        ([("dataset", "org/mine", [WRITE])], [], {"org/mine"}),
        ([("dataset", "org/mine", ["repo.content.read"])], ["discussion.write"], set()),
        ([("model", "org/mine", [WRITE])], [], set()),
        ([], [WRITE], {"org/new", "org/mine", "tester/new"}),
        ([], [], set()),
    ],
)
def test_a_fine_grained_token_is_judged_by_what_it_was_given(
    hub: HubServer, on_hub: OnHub, scopes: Any, everywhere: list[str], allowed: set[str]
) -> None:
    hub.add_repo("org/mine", {"a.txt": b"a"})
    token = grant(hub, *scopes, everywhere=everywhere)
    asked = ("org/new", "org/mine", "tester/new")
    code = f"{TRY}\n    result = [outcome(prove_write_access, name) for name in {asked}]"
    answers = dict(zip(asked, on_hub(code, token=token), strict=True))
    assert {name for name, said in answers.items() if said is None} == allowed
    for name, said in answers.items():
        if name not in allowed:
            assert said.startswith(f"PublishError: The fine-grained token has no write access to {name}"), said
            assert "`repo.write`" in said and "settings/tokens" in said
    assert [request for request in hub.requests if request.method == "POST" and "/create" in request.path] == []


def test_a_push_with_a_token_that_may_write_there_goes_through(hub: HubServer, on_hub: OnHub, run: Any) -> None:
    token = grant(hub, ("org", "org", [WRITE]))
    on_hub(f"{TRY}\n    result = push_dataset(sys.argv[1], 'org/triage', private=True)", run, token=token)
    assert hub.repos["dataset", "org/triage"].private


def test_a_namespace_of_somebody_else_stays_theirs(hub: HubServer, on_hub: OnHub) -> None:
    token = grant(hub, ("org", "org", [WRITE]))
    said = on_hub(f"{TRY}\n    result = outcome(prove_write_access, 'others/new')", token=token)
    assert "no write access to others/new" in said
