"""What a push that could not be made is blamed on, and the exit code it ends with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.errors import PublishInterrupted
from rebase_hf.publish.hub_errors import hub_errors
from tests.doubles.hub_server import HubServer

OnHub = Callable[..., Any]
PUSH = """
    import contextlib, io
    from rebase_hf.cli import main
    sys.argv = ["rebase-hf", "push", *sys.argv[1:]]
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(sys.stderr):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    result = [code, told.getvalue()]
"""


def without_student(run: Path) -> Path:
    for path in (run / "student").iterdir():
        path.unlink()
    (run / "student").rmdir()
    return run


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (500, 4, "answered 500 (made to fail by the test). Push again later."),
        (429, 4, "answered 429. Too many requests"),
        (412, 4, "Somebody else committed meanwhile"),
        (403, 2, "may not write there"),
        (400, 2, "answered 400 (made to fail by the test). Mend what it says"),
    ],
)
def test_a_hub_that_gives_up_is_another_exit_code_than_one_that_refuses(
    hub: HubServer, on_hub: OnHub, run: Path, status: int, code: int, said: str
) -> None:
    hub.fail("POST", "/commit/", status, times=9)
    ended, told = on_hub(PUSH, without_student(run), "org/triage")
    assert (ended, said in told, told.count("\n")) == (code, True, 1), told


def test_a_hub_that_nobody_reaches_may_be_reached_later(hub: HubServer, on_hub: OnHub, run: Path) -> None:
    url, hub.url = hub.url, "http://127.0.0.1:9"
    try:
        ended, told = on_hub(PUSH, without_student(run), "org/triage")
    finally:
        hub.url = url
    assert ended == 4 and "ConnectError" in told and "Check the network" in told


def test_a_name_without_its_namespace_is_refused_before_anything_is_asked(
    hub: HubServer, on_hub: OnHub, run: Path
) -> None:
    ended, told = on_hub(PUSH, run, "triage")
    assert ended == 2 and "`triage` is no repository id: it lacks the namespace. Use `namespace/name`." in told
    assert hub.requests == []


def test_a_file_of_this_machine_is_not_blamed_on_the_network(tmp_path: Path) -> None:
    missing = tmp_path / "gone" / "card.md"
    with pytest.raises(PublishInterrupted) as raised, hub_errors("org/x", "publish the dataset to"):
        missing.read_text()
    assert f"{missing}: No such file or directory" in str(raised.value)
    assert "network" not in str(raised.value)
    lost = r"ConnectionResetError \(by peer\)\. Check the network"
    with pytest.raises(PublishInterrupted, match=lost), hub_errors("org/x", "publish the dataset to"):
        raise ConnectionResetError("by peer")
