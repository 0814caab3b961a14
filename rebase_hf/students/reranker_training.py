"""Training a reranker: what the rationale's BM25 says of passages is what the question is to say of them.

    Q(d|r) = softmax_d(BM25(d|r) / tau1)     P(d|x) = softmax_d(f(d,x) / tau2)     loss = KL(Q || P)

over 8 passages a step: 4 found by the rationale, 4 by the question (KARD, arXiv 2305.18395, section 3.3). Both towers
are trained, and both temperatures fall from their first value to their last and never further. In the official code
the loss is by default the cross entropy of BM25's best passage, the tower of passages runs without gradients, and the
annealing `tau - 4a`, `100 tau - 400a` begins at tau 1, so that both temperatures become negative: from then on the
worst passage is learnt to be the best.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError, require
from rebase_hf.students.candidate_pools import DRAWN_OF_EACH, FOUND_BY_EACH, Pool, draw
from rebase_hf.students.facts import model_facts
from rebase_hf.students.reranker import Reranker
from rebase_hf.students.trainer_run import repeat_rows
from rebase_hf.training_run import hub_bar, training_run


@dataclass(frozen=True, slots=True)
class RerankerOptions:
    """How a reranker is trained; the defaults are the paper's code's but for the temperatures.

    Attributes:
        found: Rows found for a pool by the rationale, and as many by the question.
        drawn: Passages of one step that were found by the rationale, and as many by the question.
        bm25_temperature: tau1 at the beginning and at the end.
        score_temperature: tau2 at the beginning and at the end; small, since scores are sums of cosines.
        most_shown: Pools shown at most, whatever the epochs; None for no limit.
    """

    found: int = FOUND_BY_EACH
    drawn: int = DRAWN_OF_EACH
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 1e-4
    warmup: float = 0.05
    bm25_temperature: tuple[float, float] = (5.0, 1.0)
    score_temperature: tuple[float, float] = (1.0, 0.2)
    most_shown: int | None = None

    def check(self) -> None:
        """Raise StudentError for what nothing can be trained with."""
        for name in ("found", "drawn", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise StudentError(f"Reranker: `{name}` is {getattr(self, name)}; expected 1 or more.")
        for name in ("bm25_temperature", "score_temperature"):
            if not all(0 < value < float("inf") for value in getattr(self, name)):
                raise StudentError(f"Reranker: `{name}` is {getattr(self, name)}; expected two numbers above 0.")
        if self.most_shown is not None and self.most_shown < 1:
            raise StudentError(f"Reranker: `most_shown` is {self.most_shown}; expected 1 or more, or None.")


def temperature(between: tuple[float, float], progress: float) -> float:
    """Return a temperature on its way from its first value to its last: never beyond either, so always positive.

    Args:
        progress: The share of the training that is done; what is below 0 or above 1 counts as these.
    """
    first, last = between
    done = min(max(progress, 0.0), 1.0)
    return first * (1.0 - done) + last * done


def ranking_loss(scores: Any, relevance: Any, *, bm25_temperature: float, score_temperature: float) -> Any:
    """Return KL(Q || P) of one question's passages: 0 where the scores say of them what BM25 says.

    Args:
        scores: f(d, x), a torch tensor of shape (passages).
        relevance: BM25 against the rationale, of the same shape.
    """
    import torch

    target = torch.softmax(relevance / bm25_temperature, dim=-1)
    said = torch.log_softmax(scores / score_temperature, dim=-1)
    return torch.nn.functional.kl_div(said, target, reduction="sum")


def train_reranker(
    pools: Sequence[Pool], *, base_model: str | None = None, seed: int = 0, options: RerankerOptions | None = None
) -> Reranker:
    """Train a reranker on pools of passages.

    Args:
        base_model: Folder or Hub id of an encoder; None for all-MiniLM-L6-v2.

    Returns:
        The reranker; `facts["losses"]` holds the mean loss of each batch.

    Raises:
        StudentError: There are no pools, an option is wrong, or there is no such encoder.
        MissingExtraError: transformers is not installed.
    """
    options = options or RerankerOptions()
    options.check()
    if not pools:
        raise StudentError(
            "There is nothing to train a reranker on: for no rationale does the index hold two passages with words of "
            "it or of its question. Give the index that the passages came from, or train with `rerank=False`."
        )
    require("torch", what="A reranker", extra="trainer")
    shown = min(options.epochs * len(pools), options.most_shown or options.epochs * len(pools))
    with training_run(seed):
        reranker = Reranker.new(base_model or DEFAULT_MODEL)
        losses = _train(reranker, pools, options, repeat_rows(len(pools), shown, seed), seed)
    reranker.facts = {
        **model_facts(base_model or DEFAULT_MODEL),
        "seed": seed,
        "pools": len(pools),
        "shown": shown,
        **asdict(options),
        "losses": [round(loss, 6) for loss in losses],
    }
    return reranker


def _train(
    reranker: Reranker, pools: Sequence[Pool], options: RerankerOptions, order: Sequence[int], seed: int
) -> list[float]:
    import torch
    from transformers import get_linear_schedule_with_warmup

    reranker.to("cuda" if torch.cuda.is_available() else "cpu").train_mode()
    rng = np.random.default_rng([seed, 1])
    batches = [order[start : start + options.batch_size] for start in range(0, len(order), options.batch_size)]
    optimizer = torch.optim.AdamW(reranker.parameters(), lr=options.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, int(options.warmup * len(batches)), len(batches))
    losses = []
    with hub_bar(total=len(batches), desc="reranker", unit="step", leave=False) as bar:
        for number, batch in enumerate(batches):
            progress = number / max(1, len(batches) - 1)
            losses.append(sum(_learn(reranker, pools[p], options, progress, rng, 1 / len(batch)) for p in batch))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            bar.update(1)
    return losses


def _learn(
    reranker: Reranker,
    pool: Pool,
    options: RerankerOptions,
    progress: float,
    rng: np.random.Generator,
    share: float,
) -> float:
    """Add one pool's gradients, by its share of the batch, and return that share of its loss.

    One pool after the other: memory is that of 8 passages, however large the batch.
    """
    import torch

    drawn = draw(pool, rng, of_each=options.drawn)
    scores = reranker.interact(pool.question, [pool.texts[place] for place in drawn])
    relevance = torch.tensor([pool.relevance[place] for place in drawn], device=scores.device)
    loss = share * ranking_loss(
        scores,
        relevance,
        bm25_temperature=temperature(options.bm25_temperature, progress),
        score_temperature=temperature(options.score_temperature, progress),
    )
    loss.backward()
    return float(loss.detach())
