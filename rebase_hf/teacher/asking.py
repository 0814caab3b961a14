"""What it is to be asked: identities, keys of requests, counts, and the door to every kind of teacher."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rebase_hf.errors import TeacherError, TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Completion, Draft, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.latency import Durations
from rebase_hf.teacher.target import Teacher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TeacherIdentity:
    """Who answers, wherever it runs: what the journal and the dataset's fingerprint know a teacher by."""

    model: str
    revision: str | None
    kind: str


@dataclass(slots=True)
class Usage:
    """What a run has used so far.

    Attributes:
        requests: Requests sent, retries included.
        from_journal: Asks that the journal answered, for free.
        retries: Requests that were sent again because of a fault.
        refused: Requests that a busy server turned away (429, 503).
        cost: What the tokens cost, where prices were given.
        tokens_estimated: The server does not say what an answer took: tokens are reckoned at 4 characters each.
        durations: How many of the answers that a server was asked for took how long (`latency.py`).
    """

    requests: int = 0
    from_journal: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    refused: int = 0
    cost: float | None = None
    tokens_estimated: bool = False
    durations: Durations = field(default_factory=dict)


class Unanswered(Exception):  # noqa: N818 - it is an outcome that is recorded, not an error of the program
    """This one request has no usable answer: it is quarantined, and the run goes on.

    Attributes:
        reason: A short snake_case word: `server_error`, `too_long`, `timeout`, `empty_answer`, `truncated_answer`,
            `unreadable_answer`, `connection_lost`, `bad_request`.
        detail: What a person needs to understand it.
        attempts: How many times it was tried.
        key: The journal key of the request.
    """

    def __init__(self, reason: str, detail: str = "", attempts: int = 0, key: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.attempts = attempts
        self.key = key


class BudgetReached(TeacherError):
    """A limit that the user set on requests, tokens or cost is reached; nothing more is sent."""


class Halted(TeacherError):
    """The teacher was told to send nothing more before this request was sent; a rerun asks it."""


class Asker(Protocol):
    """A teacher that is open and can be asked."""

    @property
    def identity(self) -> TeacherIdentity:
        """Who answers."""
        ...

    @property
    def concurrency(self) -> int:
        """How many drafts are worth having in flight now; it changes as the server shows what it can take."""
        ...

    @property
    def usage(self) -> Usage:
        """What has been used so far."""
        ...

    @property
    def grace(self) -> float:
        """Seconds that what is in flight may take, once `halt` was called."""
        ...

    async def ask(self, draft: Draft) -> Completion:
        """Return the answer to a draft, from the journal where it is known; durable before it is returned.

        Raises:
            Unanswered: This request has no usable answer.
            TeacherRefused: The teacher will never answer; the run must stop.
            TeacherUnavailable: The teacher has not answered for too long; the run must stop and can be resumed.
            BudgetReached: A limit is reached; the run stops cleanly.
            Halted: It was not sent before `halt`.
            JournalError: The answer can't be kept; nothing more is sent.
        """
        ...

    def halt(self) -> None:
        """Send nothing more. What is in flight is still answered and journalled; all else that is asked is Halted."""
        ...

    async def close(self) -> None:
        """Let go of connections and servers."""
        ...


class NoTeacher:
    """The asker of a method that asks nobody."""

    concurrency = 256
    grace = 0.0

    def __init__(self) -> None:
        self.identity = TeacherIdentity(model="none", revision=None, kind="none")
        self.usage = Usage()

    async def ask(self, draft: Draft) -> Completion:
        """Refuse."""
        raise TeacherRefused("There is no teacher to ask: the teacher is `none`.")

    def halt(self) -> None:
        """Do nothing: nothing is sent."""

    async def close(self) -> None:
        """Do nothing: nothing is open."""


def clean_text(text: str) -> str:
    r"""Return `text` with lone surrogates replaced by U+FFFD: neither UTF-8 nor Arrow can hold them.

    Example:
        >>> clean_text("a\ud800b") == "a\ufffdb"
        True
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def merge_sampling(teacher: Teacher, sampling: Sampling) -> Sampling:
    """Return the method's sampling with what the user set on the teacher in its place."""
    return Sampling(
        temperature=sampling.temperature if teacher.temperature is None else teacher.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens if teacher.max_tokens is None else teacher.max_tokens,
        seed=sampling.seed,
    )


def request_content(identity: TeacherIdentity, draft: Draft, sampling: Sampling) -> dict[str, Any]:
    """Return what decides an answer: what the journal keeps for `trace`, and what a request is keyed by."""
    return {
        "model": identity.model,
        "revision": identity.revision,
        "messages": [{"role": m.role, "content": clean_text(m.content)} for m in draft.messages],
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
        },
        "schema": draft.schema,
        "sample": draft.sample,
        "repair": draft.repair,
    }


def first_question(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the request whose unreadable answer `content`, a repair question, is about.

    A repair question has that answer and the request to mend it behind the first question (`prompts.repair_draft`).
    The few-shot teacher's have no such turns: its answers are keyed by the row's text alone.
    """
    turns = content["messages"]
    before = turns[:-2] if len(turns) > 2 and turns[-2]["role"] == "assistant" else turns
    return {**content, "messages": before, "repair": content["repair"] - 1}


def content_key(content: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of a request's content.

    The order of a schema's properties counts, since engines that enforce a schema answer in its order. `sent`, which
    the journal keeps beside the content, does not: the settings that an answer came with in the end, seed included.
    """
    if "sent" in content:
        content = {name: value for name, value in content.items() if name != "sent"}
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), default=dict).encode()).hexdigest()


def request_key(identity: TeacherIdentity, draft: Draft, sampling: Sampling) -> str:
    """Return the journal key of a request: its content alone, never an address, a key or a concurrency.

    The sampling is the merged one, as `merge_sampling` gives it.
    """
    return content_key(request_content(identity, draft, sampling))


def identify(teacher: Teacher | str, task: Task, token: str | None = None) -> TeacherIdentity:
    """Return who would answer, without asking anything that costs.

    Of an endpoint that is down, the identity last seen at its address is returned, with a warning.

    Raises:
        TeacherRefused: The target, key or model is wrong.
        TeacherUnavailable: Nothing answers at the address, and nothing was ever seen there.
    """
    teacher = Teacher.of(teacher)
    kind = teacher.kind
    if kind == "few-shot":
        from rebase_hf.teacher.few_shot import FewShotTeacher

        return FewShotTeacher.identify(teacher, task)
    if kind == "none":
        return TeacherIdentity(model="none", revision=None, kind=kind)
    if kind == "local":
        from rebase_hf.teacher.local import identify_local

        return identify_local(teacher.location)
    if kind == "provider":
        return TeacherIdentity(model=teacher.location, revision=None, kind=kind)
    if kind == "hf-endpoint":
        from rebase_hf.teacher.hosted import identify_hosted

        return identify_hosted(teacher, token)
    from rebase_hf.teacher.dialects import probe
    from rebase_hf.teacher.served import last_seen

    try:
        return probe(teacher, token=token).identity
    except TeacherUnavailable as error:
        seen = last_seen(teacher)
        if seen is None:
            raise
        logger.warning("%s Going on with the model last seen there, %s.", error, seen.identity.model)
        return seen.identity


async def open_teacher(
    teacher: Teacher | str,
    task: Task,
    journal: Journal,
    *,
    token: str | None = None,
    give_up_after: float = 600.0,
    seed: int = 0,
    spent: Mapping[str, Any] | None = None,
) -> Asker:
    """Return the teacher, ready to be asked; close it after use.

    An endpoint that is down but was seen before opens too: what the journal holds needs no server.

    Args:
        teacher: Whom to ask; a text is a target.
        task: What a teacher that is trained here is trained on.
        journal: Where answers are looked up and kept; it stays open when the teacher is closed.
        token: A Hugging Face token, which is sent to Hugging Face's own hosts only and refused for any other; or, for
            a URL, that server's own key.
        give_up_after: Seconds without any success after which the run stops with TeacherUnavailable.
        seed: For a teacher that is trained here.
        spent: What was spent of the teacher's limits before: `requests`, `prompt_tokens`, `completion_tokens`, `cost`.

    Raises:
        TeacherRefused: The target, key, model or proxy is wrong.
        TeacherUnavailable: Nothing answers at the address, and nothing was ever seen there.
    """
    teacher = Teacher.of(teacher)
    kind = teacher.kind
    if kind == "few-shot":
        from rebase_hf.teacher.few_shot import FewShotTeacher

        return FewShotTeacher(teacher, task, journal, seed=seed, spent=spent or {})
    if kind == "none":
        return NoTeacher()
    if kind == "local":
        from rebase_hf.teacher.local import open_local

        return await open_local(teacher, journal, give_up_after=give_up_after, spent=spent or {})
    if kind == "hf-endpoint":
        from rebase_hf.teacher.hosted import open_hosted

        return await open_hosted(teacher, journal, token=token, give_up_after=give_up_after, spent=spent or {})
    if kind == "provider":
        from rebase_hf.teacher.hosted import open_provider

        return open_provider(teacher, journal, token=token, give_up_after=give_up_after, spent=spent or {})
    if kind != "endpoint":
        raise TeacherRefused(f"A teacher of kind `{kind}` can't be opened.")
    from rebase_hf.teacher.endpoint import open_endpoint

    return await open_endpoint(teacher, journal, token=token, give_up_after=give_up_after, spent=spent or {})
