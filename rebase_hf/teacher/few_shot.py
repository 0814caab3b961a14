"""The teacher that needs no LLM: SetFit, trained on the task's few examples, labels the retrieved rows.

It is self-training on retrieved rows: it can't make a text fit the task, as a language model does, only say which
label a row's own text has, and how sure it is. It learns from the task's examples and from the phrase of each label.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.embedding_model import DEFAULT_MODEL, IDENTITY_FILES, find_embedding_model, model_fingerprint
from rebase_hf.errors import TeacherRefused, TeacherUnavailable, require
from rebase_hf.rows import Completion, Draft, Message, Sampling
from rebase_hf.setfit_training import train_setfit
from rebase_hf.task import Task
from rebase_hf.teacher.asking import (
    BudgetReached,
    Halted,
    TeacherIdentity,
    Unanswered,
    Usage,
    clean_text,
    content_key,
    request_content,
)
from rebase_hf.teacher.journal import Failure, Journal
from rebase_hf.teacher.target import Teacher

if TYPE_CHECKING:
    from setfit import SetFitModel

# Part of what an answer is keyed by: a change of how the teacher is trained gives new answers.
MAX_PAIRS = 600
MAX_LENGTH = 128
VERSION = 3

BATCH = 64
BATCH_SECONDS = 0.005


class FewShotTeacher:
    """An asker that is trained here, at the first row that the journal has no answer for.

    A handful of examples leaves the classifier's probabilities low (with 14 labels a mean of .09), but in a useful
    order. So its confidence in a label is that label's probability against the mean probability that it gives to the
    examples it was trained on, at most 1: how sure it is, measured by how sure it can be.

    Args:
        teacher: `few-shot`; its `model` names another base model than the default encoder.
        seed: Seeds the training; another seed is another teacher.

    Raises:
        TeacherRefused: The task is one that labels can't answer.
    """

    concurrency = 256
    grace = 30.0

    def __init__(
        self, teacher: Teacher, task: Task, journal: Journal, *, seed: int, spent: Mapping[str, Any] | None = None
    ) -> None:
        self.identity = self.identify(teacher, task)
        self.usage = Usage()
        self._teacher, self._task, self._journal, self._seed = teacher, task, journal, seed
        self._sent_before = int((spent or {}).get("requests", 0))
        self._halted = False
        self._training = _training_digest(task)
        self._model: SetFitModel | None = None
        self._surest = 1.0
        self._batch: _Batch | None = None
        # One thread: training comes before the first batch, and torch's own threads use the cores.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="few-shot-teacher")

    @staticmethod
    def identify(teacher: Teacher, task: Task) -> TeacherIdentity:
        """Return the base model's name and the sha256 of its weights.

        Raises:
            TeacherRefused: The task is one that labels can't answer.
            TeacherUnavailable: The base model is not here, and the Hub can't be reached.
            MissingExtraError: SetFit is not installed.
        """
        if task.kind != "classification":
            raise TeacherRefused(
                f"The few-shot teacher only labels rows, and task `{task.name}` is a {task.kind} task. "
                "Give an endpoint or `local:MODEL` as the teacher."
            )
        if task.reasons:
            raise TeacherRefused(
                f"The few-shot teacher can't write rationales, and the examples of task `{task.name}` have them. "
                "Leave them out, or give an endpoint or `local:MODEL` as the teacher."
            )
        require("setfit", what="The few-shot teacher", extra="setfit")
        spec = teacher.model or DEFAULT_MODEL
        name = Path(spec).resolve().name if Path(spec).is_dir() else spec
        return TeacherIdentity(
            model=f"few-shot:{name}", revision=model_fingerprint(_base_folder(spec)), kind="few-shot"
        )

    async def ask(self, draft: Draft) -> Completion:
        """Return the label of the draft's row, with the row's own texts as the inputs, as a chat teacher writes it.

        Raises:
            Unanswered: The row has no text in the columns that the task's inputs are read from.
            BudgetReached: `max_requests` is reached.
            Halted: `halt` was called before.
            JournalError: The answer can't be kept.
        """
        inputs = _row_inputs(self._task, draft)
        content = self._content(draft, inputs)
        key = content_key(content)
        known = self._journal.get(key)
        if known is not None:
            self.usage.from_journal += 1
            return _answered(known)
        self._journal.check()
        if self._halted:
            raise Halted("The few-shot teacher was told to label nothing more.")
        limit = self._teacher.max_requests
        if limit is not None and self._sent_before + self.usage.requests >= limit:
            raise BudgetReached(f"The limit of {limit} requests to the few-shot teacher is reached.")
        self.usage.requests += 1
        label, confidence = await self._label(self._task.input_text(inputs))
        answer = json.dumps({**inputs, self._task.output: label}, ensure_ascii=False)
        completion = Completion(key, answer, "stop", self.identity.model, confidence=confidence)
        return _answered(await self._journal.put(key, content, completion))

    def halt(self) -> None:
        """Label nothing more."""
        self._halted = True

    async def close(self) -> None:
        """Let go of the thread and the model."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._model = None

    def _content(self, draft: Draft, inputs: Mapping[str, str]) -> dict[str, Any]:
        """Return what decides the answer: the base model, the examples trained on, the seed, and the row's text."""
        trained_on = f"SetFit trained on the examples of task `{self._task.name}`, sha256 {self._training}"
        messages = (Message("system", trained_on), Message("user", json.dumps(inputs, ensure_ascii=False)))
        asked = replace(draft, messages=messages, schema=None)
        return request_content(self.identity, asked, Sampling(seed=self._seed))

    async def _label(self, text: str) -> tuple[str, float]:
        """Return the label of a text and its probability, predicted together with whatever else is asked now."""
        if self._batch is None:
            self._batch = _Batch(self._predict_batch)
        batch, place = self._batch, len(self._batch.texts)
        batch.texts.append(text)
        if len(batch.texts) == BATCH:
            self._batch = None
            batch.full.set()
        # One who no longer waits must not cancel the others' answers.
        return (await asyncio.shield(batch.predicted))[place]

    async def _predict_batch(self, batch: "_Batch") -> list[tuple[str, float]]:
        with suppress(TimeoutError):
            await asyncio.wait_for(batch.full.wait(), BATCH_SECONDS)
        if self._batch is batch:
            self._batch = None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, tuple(batch.texts))

    def _predict(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        if self._model is None:
            self._model = _train(self._task, self._teacher.model, self._seed)
            known = [self._task.input_text(example) for example in self._task.examples]
            self._surest = float(self._probabilities(known).max(axis=1).mean())
        names = list(self._task.labels)
        # The last digits depend on which texts share a batch.
        return [
            (names[row.argmax()], round(min(1.0, float(row.max()) / self._surest), 3))
            for row in self._probabilities(texts)
        ]

    def _probabilities(self, texts: Sequence[str]) -> Any:
        assert self._model is not None
        return self._model.predict_proba(list(texts), as_numpy=True, show_progress_bar=False)


class _Batch:
    """Texts that are labelled together."""

    def __init__(self, predict: "Callable[[_Batch], Awaitable[list[tuple[str, float]]]]") -> None:
        self.texts: list[str] = []
        self.full = asyncio.Event()
        self.predicted = asyncio.ensure_future(predict(self))


def _train(task: Task, base_model: str | None, seed: int) -> "SetFitModel":
    texts, labels = _training_texts(task)
    return train_setfit(
        texts,
        labels,
        label_names=list(task.labels),
        base_model=_base_folder(base_model or DEFAULT_MODEL),
        seed=seed,
        max_pairs=MAX_PAIRS,
        max_length=MAX_LENGTH,
    )


def _training_texts(task: Task) -> tuple[list[str], list[str]]:
    """Return the task's examples, and the phrase of each label as one more text with that label."""
    texts = [task.input_text(example) for example in task.examples]
    labels = [example[task.output] for example in task.examples]
    return [*texts, *task.labels.values()], [*labels, *task.labels]


def _training_digest(task: Task) -> str:
    content = [VERSION, MAX_PAIRS, MAX_LENGTH, list(task.labels), *_training_texts(task)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _base_folder(spec: str) -> str:
    """Return the base model's folder; one that is only on the Hub is fetched."""
    found = find_embedding_model(spec)
    if Path(found).is_dir():
        return found
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    asked = f"The few-shot teacher's base model `{spec}`"
    try:
        return str(snapshot_download(found, allow_patterns=[*IDENTITY_FILES, "*.json", "*.txt", "*.model"]))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise TeacherRefused(
            f"{asked} is neither a folder nor a model on the Hub. Give one that sentence-transformers can load."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise TeacherUnavailable(
            f"{asked} is not here, and the Hub can't be reached: {' '.join(str(error).split())} "
            'Install it with: pip install "rebase-hf[offline]", or name a folder.'
        ) from error


def _row_inputs(task: Task, draft: Draft) -> dict[str, str]:
    """Return the text of each of the task's inputs, copied from the column that comes nearest to it."""
    if draft.row is None:
        raise TeacherRefused(
            "The few-shot teacher labels retrieved rows, and this method asks without one. "
            "Use method `rebase`, or give an endpoint as the teacher."
        )
    row, cells = draft.row, draft.row.source.cells
    inputs = {name: cells.get(row.fields.get(name) or row.columns.get("input") or "", "") for name in task.inputs}
    if empty := [name for name, text in inputs.items() if not text.strip()]:
        raise Unanswered("no_input_text", f"the row has no text for `{empty[0]}`")
    return {name: clean_text(text) for name, text in inputs.items()}


def _answered(outcome: Completion | Failure) -> Completion:
    if isinstance(outcome, Failure):
        raise Unanswered(outcome.reason, outcome.detail, outcome.attempts, outcome.key)
    return outcome
