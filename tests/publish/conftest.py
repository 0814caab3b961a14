"""A run to publish, and the Hub to publish it to."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub_server import HubServer
from tests.publish.example_run import SOURCES, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        for dataset, *_, url, _ in SOURCES:
            if url is not None:
                server.add_repo(dataset, {"README.md": "# A source of the example run\n"})
        yield server


@pytest.fixture
def on_hub(hub: HubServer, tmp_path: Path) -> Callable[..., Any]:
    """Run code in a process that sees the Hub; what it assigns to `result` comes back."""

    def do(code: str, *arguments: object, token: str | None = HubServer.token) -> Any:
        script = "import sys, json\n" + textwrap.dedent(code) + "\nprint(json.dumps(result, default=str))"
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=hub.env(tmp_path / "home", token),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert HubServer.token not in done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return do
