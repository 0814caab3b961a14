"""The student that reads: it retrieves passages, reranks them, reasons several times, and votes (KARD, 2305.18395).

1. Candidates: the 100 rows of its index whose words fit the question best (BM25).
2. Its reranker puts them in order; it reads the best, in the form in which it was trained (`grounded_text`).
3. It writes 5 rationales, each with an answer, by sampling.
4. Of the answers that can be read, the most frequent is returned.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.grounded_text import grounded_input
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.students.index_lookup import index_facts, is_own_store, keep_index, same_index
from rebase_hf.students.metrics import score
from rebase_hf.students.passages import Allowed, Passage, kept_apart, rerank, search_passages
from rebase_hf.students.reading import Evidence, Reading, settle
from rebase_hf.students.saving import KNOWLEDGE, RERANKER, SavedStudent, saving
from rebase_hf.students.seq2seq import AUTO_CLASS
from rebase_hf.students.student import Input, check_inputs, evaluation_fields, plain_rows
from rebase_hf.students.trainer_run import load_pretrained
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading

if TYPE_CHECKING:
    from rebase_hf.students.reranker import Reranker


class GroundedStudent:
    """An encoder-decoder that reads passages from an index and writes a rationale before its answer.

    Attributes:
        reading: How it retrieves, samples and votes.
        index: Where its passages come from; None for one that reads none.
        reranker: What chooses among the candidates; None leaves them in the order of BM25.
    """

    kind = "grounded"

    def __init__(
        self,
        task: Task,
        model: Any,
        tokenizer: Any,
        facts: Mapping[str, Any],
        *,
        reading: Reading,
        index: RowIndex | None = None,
        reranker: "Reranker | None" = None,
    ) -> None:
        reading.check()
        if reading.passages and index is None:
            raise StudentError("This student reads passages, and there is no index to find them in; give `index=`.")
        if index is not None:
            index.words()  # built without its words, or no tantivy: said now
        self.task, self.model, self.tokenizer = task, model, tokenizer
        self.facts: Mapping[str, Any] = dict(facts)
        self.reading, self.index, self.reranker = reading, index, reranker

    def reading_as(self, **changes: Any) -> "GroundedStudent":
        """Return the same student with another `Reading`: `threshold=7.5`, `votes=1`, `passages=0`, ..."""
        reading = replace(self.reading, **changes)
        return GroundedStudent(
            self.task,
            self.model,
            self.tokenizer,
            self.facts,
            reading=reading,
            index=self.index,
            reranker=self.reranker,
        )

    def predict(self, inputs: Sequence[Input], *, rationales: Sequence[str] | None = None) -> list[str]:
        """Return the answer for each input, in order; the same for the same input, whatever stands beside it.

        Args:
            rationales: The silver mode: a teacher's rationale for each input, by which its passages are found in
                place of question and reranker. What can be reached with perfect retrieval (KARD's upper bound), and
                nothing to deploy: who has the teacher's rationale needs no student.

        Raises:
            StudentError: An input does not fit the task, or there is not one rationale an input.
        """
        return [found.answer for found in self.predict_with_evidence(inputs, rationales=rationales)]

    def predict_with_evidence(
        self, inputs: Sequence[Input], *, rationales: Sequence[str] | None = None
    ) -> list[Evidence]:
        """Return for each input the answer with its votes, what was written for it, and the passages that were read.

        Args:
            rationales: As `predict` takes them.
        """
        rows = check_inputs(self.task, inputs)
        return self._answer(rows, rationales, None, [self.reading.popularity(row) for row in inputs])

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the share of votes of each label for each input, shape (inputs, labels), in the task's label order.

        How sure a student is that votes, as `--consult-student` asks; where no vote was cast, it is sure of nothing.

        Raises:
            StudentError: The task has no labels.
        """
        labels = list(self.task.labels)
        if not labels:
            raise StudentError(f"Task `{self.task.name}` has no labels, so its answers have no probabilities.")
        cast = [[found.votes.get(label, 0) for label in labels] for found in self.predict_with_evidence(inputs)]
        return np.array([[v / sum(row) for v in row] if sum(row) else [1 / len(labels)] * len(labels) for row in cast])

    def retrieve(self, inputs: Sequence[Input]) -> list[list[Passage]]:
        """Return the passages found for each input, best first, whatever the threshold."""
        rows = check_inputs(self.task, inputs)
        return [self._find(self.task.input_text(row), None, None)[1] for row in rows]

    def evaluate(
        self, rows: Iterable[Any] | None = None, *, rationales: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on its evaluation rows, and three shares.

        Passages that give away one of these rows are not read. `vote_share` is the mean share of votes that the
        answers had, of all that was written; `unreadable_share` is how much of it held no answer; `retrieved_share`
        is for how many rows passages were read.
        """
        given = None if rows is None else list(plain_rows(rows))
        held_out = evaluation_fields(self.task, given)
        popularity = [self.reading.popularity(row) for row in given or self.task.evaluation_records()]
        found = self._answer(held_out, rationales, kept_apart(EvaluationGuard(self.task, held_out)), popularity)
        scores = score(self.task, [one.answer for one in found], [row[self.task.output] for row in held_out])
        written = sum(len(one.written) for one in found)
        return {
            **scores,
            "vote_share": sum(one.votes.get(one.answer, 0) / len(one.written) for one in found) / len(found),
            "unreadable_share": sum(one.unreadable for one in found) / written,
            "retrieved_share": sum(bool(one.passages) for one in found) / len(found),
        }

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that stands alone but for its index, whose name it keeps.

        A knowledge store goes along; another index is named in `training.json` by its last folder or its Hub id, with
        its fingerprint. Where it lies on this machine is in `local.json`, which is never published.
        """
        facts = {**self.facts, "reading": asdict(self.reading), "index": index_facts(self.index)}
        keeps = (KNOWLEDGE,) if self.index is not None and is_own_store(self.index, Path(folder)) else ()
        with saving(folder, kind=self.kind, task=self.task, facts=facts, keeps=keeps) as path:
            with quiet_loading():
                self.model.save_pretrained(path)
                self.tokenizer.save_pretrained(path)
            if self.reranker is not None:
                self.reranker.save(path / RERANKER)
            if self.index is not None and not keeps:
                keep_index(self.index, path)
        return Path(folder)

    def _answer(
        self,
        rows: Sequence[dict[str, str]],
        rationales: Sequence[str] | None,
        allowed: Allowed | None,
        popularity: Sequence[float | None],
    ) -> list[Evidence]:
        silver = self._check_rationales(rows, rationales)
        found = []
        for row, rationale, popular in zip(rows, silver, popularity, strict=True):
            nearness, passages = 0.0, list[Passage]()
            known = rationale is None and self.reading.popularity_column is not None
            if not (known and self.reading.goes_without(0.0, popular)):
                nearness, passages = self._find(self.task.input_text(row), rationale, allowed)
            if rationale is None and self.reading.goes_without(nearness, popular):
                passages = []
            written = self._write(grounded_input(self.task, row, [passage.text for passage in passages]))
            answer, votes = settle(self.task, written, usual=self._usual())
            found.append(Evidence(answer, votes, tuple(written), tuple(passages), nearness))
        return found

    def _find(self, question: str, rationale: str | None, allowed: Allowed | None) -> tuple[float, list[Passage]]:
        """Return how near the nearest candidate comes to the query, by BM25, and the passages to read."""
        if not self.reading.passages or self.index is None:
            return 0.0, []
        query = question if rationale is None else rationale
        passages = search_passages(self.index, query, self.reading.candidates, allowed)
        nearness = passages[0].bm25 if passages else 0.0
        if self.reranker is not None and rationale is None:
            passages = rerank(self.reranker, question, passages)
        return nearness, passages[: self.reading.passages]

    def _write(self, source: str) -> list[str]:
        """Return what the model writes, so many times: with more than one vote by sampling, seeded by what it reads.

        One input after the other: in a batch, what is drawn for one would depend on those before it.
        """
        import torch

        batch = self.tokenizer(
            [source],
            truncation=True,
            max_length=int(self.facts["max_length"]),
            return_tensors="pt",
            return_token_type_ids=False,
        ).to(self.model.device)
        how = self.reading
        drawn = {"do_sample": True, "top_k": how.top_k, "top_p": how.top_p, "temperature": 1.0}
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(_seed(source, how.seed))
            ids = self.model.generate(
                **batch,
                max_new_tokens=how.max_tokens,
                num_beams=1,
                num_return_sequences=how.votes,
                **(drawn if how.votes > 1 else {"do_sample": False}),
            )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _usual(self) -> str | None:
        """Return the label that was most frequent in training; of equals, the first."""
        counts = self.facts.get("labels") or dict.fromkeys(self.task.labels, 0)
        return max(counts, key=lambda label: counts[label]) if counts else None

    def _check_rationales(self, rows: Sequence[Any], rationales: Sequence[str] | None) -> Sequence[str | None]:
        if rationales is None:
            return [None] * len(rows)
        if isinstance(rationales, str) or len(rationales) != len(rows):
            held = "one text" if isinstance(rationales, str) else f"{len(rationales)} of them"
            raise StudentError(f"`rationales` is {held} for {len(rows)} inputs; give a list with one an input.")
        if not self.reading.passages:
            raise StudentError("This student reads no passages, so there is nothing to find by `rationales`.")
        return rationales


def load_grounded_student(saved: SavedStudent, index: Any = None) -> GroundedStudent:
    """Load a saved grounded student with the index that it was trained with, or the one given.

    Raises:
        StudentError: It is damaged, or its index is not at hand.
    """
    reading = Reading.read(saved.facts.get("reading"), saved.folder)
    opened = same_index(saved, index) if reading.passages else None
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    reranker = None
    if saved.facts.get("reranker"):
        from rebase_hf.students.reranker import Reranker

        reranker = Reranker.load(saved.folder / RERANKER)
    return GroundedStudent(saved.task, model, tokenizer, saved.facts, reading=reading, index=opened, reranker=reranker)


def _seed(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{text}".encode()).digest()[:7])
