"""A teacher that runs here: starts `transformers serve` for a folder or model id, asks it, and stops it."""

import asyncio
import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rebase_hf.embedding_model import model_fingerprint
from rebase_hf.errors import TeacherRefused, TeacherUnavailable, require
from rebase_hf.teacher import watched_serve
from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.endpoint import EndpointAsker
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import NO_KEY, Teacher

logger = logging.getLogger(__name__)

START_SECONDS = 900.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.1
# With continuous batching the server takes any number; above this, answers only get slower.
CONCURRENCY = 32


class LocalServer:
    """One `transformers serve` process, in a process group of its own, gone when this process is.

    Args:
        model: A folder, or `model id@revision`.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self, *, deadline: float = START_SECONDS) -> None:
        """Start the server and return when it answers.

        Raises:
            TeacherUnavailable: It ended, or was not ready in time; with the last lines that it wrote.
        """
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the server
        command = [sys.executable, "-P", str(watched_serve.__file__), self.model]
        command += ["--host", "127.0.0.1", "--port", str(port), "--continuous-batching"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        atexit.register(self._kill)
        logger.info("Starting transformers serve for %s at %s.", self.model, self.url)
        until = time.monotonic() + deadline
        while not await asyncio.to_thread(_is_healthy, port):
            if self._process.poll() is not None:
                problem = f"ended with code {self._process.returncode}"
            elif time.monotonic() > until:
                problem = f"was not ready after {deadline:g} s"
            else:
                await asyncio.sleep(POLL_SECONDS)
                continue
            last = self._last_lines()
            await self.stop()
            raise TeacherUnavailable(
                f"`transformers serve {self.model}` {problem}. Mend what its last lines say, or serve the model "
                f"yourself and give its address (--teacher URL). {last}",
                url=self.url,
            )

    async def stop(self) -> None:
        """End the server, gently if it lets itself."""
        if self._process is None:
            return
        _signal_group(self._process, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while self._process.poll() is None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        atexit.unregister(self._kill)
        if process is not None:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _last_lines(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-4:] if line.strip())


def identify_local(location: str) -> TeacherIdentity:
    """Return who a local model is: a folder by its name and the digest of its files, a Hub model by its commit.

    Raises:
        TeacherRefused: It is neither a folder with a model nor a model that the Hub knows.
    """
    folder = Path(location).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TeacherRefused(
                f"The teacher `local:{location}` names a folder without a config.json; expected a saved chat model. "
                "Save one there with save_pretrained, model and tokenizer."
            )
        return TeacherIdentity(folder.resolve().name, model_fingerprint(str(folder.resolve())), "local")
    return TeacherIdentity(location, _hub_revision(location), "local")


def _hub_revision(model_id: str) -> str:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    from rebase_hf.teacher.connections import httpx

    missing = (
        f"The teacher `local:{model_id}` is neither a folder here nor a model in the local Hub cache, and the Hub "
        "could not be asked for it ({}). Correct the folder or the model id."
    )
    try:
        cached = try_to_load_from_cache(model_id, "config.json")
        if isinstance(cached, str):
            return Path(cached).parent.name
        return str(HfApi().model_info(model_id).sha)
    except (HFValidationError, HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError) as error:
        raise TeacherRefused(missing.format(" ".join(str(error).split())[:200])) from error


def _servable(location: str, identity: TeacherIdentity) -> str:
    """Return what `transformers serve` is given: a folder where there is one, so that nothing is looked up again."""
    folder = Path(location).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(location, "config.json", revision=identity.revision)
    return str(Path(cached).parent) if isinstance(cached, str) else f"{location}@{identity.revision}"


async def open_local(
    teacher: Teacher, journal: Journal, *, give_up_after: float = 600.0, spent: Mapping[str, Any] | None = None
) -> EndpointAsker:
    """Return a teacher that is served from here; the server starts when something has to be asked.

    Raises:
        MissingExtraError: What `transformers serve` needs is not installed.
        TeacherRefused: The model is not found.
    """
    for module in ("transformers", "torch", "fastapi", "uvicorn"):
        require(module, what=f"The teacher `{teacher.target}` (transformers serve)", extra="local")
    identity = await asyncio.to_thread(identify_local, teacher.location)
    model = _servable(teacher.location, identity)
    server = LocalServer(model)
    most = CONCURRENCY

    async def start() -> Served:
        await server.start()
        return Served(identity, server.url, teacher.dialect or "transformers", model, most)

    return EndpointAsker(
        teacher,
        Served(identity, f"local:{identity.model}", teacher.dialect or "transformers", model, most),
        NO_KEY,
        journal,
        give_up_after=give_up_after,
        spent=spent,
        prepare=start,
        on_close=server.stop,
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_healthy(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal_group(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            logger.debug("Process %d was gone already.", process.pid)
