"""Which checks an answer, and then the whole set, must pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from rebase_hf.errors import TaskError
from rebase_hf.quality.duplicates import NEAR

FACTORS = ("length_factor", "contradicted_odds")
SHARES = ("consistent", "near_duplicates", "semantic_duplicates", "similar_to_evaluation", "cartography")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Which checks an answer, and then the whole set, must pass.

    Attributes:
        near_duplicates: Similarity from which an output repeats another, or an example of the task; 1.0 drops equal
            texts only; None drops nothing for it. What the examples of the task all share does not count.
        guard_evaluation: Drop outputs that give away evaluation rows, or nearly repeat one.
        evaluation_sets: Evaluation sets to keep out of training beside the task's own, each a path or a Hub id,
            `ID:CONFIG:SPLIT` where needed; every column of texts counts, for retrieval and for outputs.
        refusals: Drop answers that decline to answer ("I can't help with that").
        length_factor: Drop answers with a field this many times longer than its longest example, or shorter than its
            shortest; None takes any length.
        language: Drop answers with a field that is clearly in another language than the task's and its examples.
        min_confidence: Drop answers that the teacher itself is less sure of than this. Only the few-shot teacher says
            how sure it is; None takes every answer.
        confident_share: Drop answers that are not among this share of the surest ones, of those with the same label
            decided before. No fixed confidence means the same from task to task; the order does.
        label_share: No label may fill more than this share of the examples asked for; None leaves them as they come.
        semantic_duplicates: Similarity of embeddings from which a row says what an earlier one with the same output
            and the same numbers does; None looks at words alone. This and what follows looks at the whole set
            (`whole_set.py`).
        similar_to_evaluation: Similarity of embeddings from which a row is too near an evaluation text.
        balance: Cut the whole set to equal shares of the labels that it has (True), or to the shares given.
        cartography: Keep this share of each label's examples, those that a small learner is surest of (.83 in
            SynthesizRR).
        contradicted_odds: Drop examples for which that learner finds another label this many times as likely as their
            own (3 is a good start). Nothing is dropped to fill a share, nor where the learner knows hardly more of a
            text's label than which is the most frequent one.
        answerable: Drop outputs that the teacher, asked blind up to three times, does not give this often again; 0
            asks nothing. For labels, spans and short answers (`answerability.py`).
        consistent: Drop outputs of a task that reasons where less than this share of five reasoned answers agree, or
            agree on another output (`consistency.py`, which has .6); None asks nothing.

    Raises:
        TaskError: A number is out of its range.
    """

    near_duplicates: float | None = NEAR
    guard_evaluation: bool = True
    evaluation_sets: Sequence[str] = ()
    refusals: bool = True
    length_factor: float | None = 10.0
    language: bool = True
    min_confidence: float | None = None
    confident_share: float | None = None
    label_share: float | None = None
    semantic_duplicates: float | None = None
    similar_to_evaluation: float | None = None
    balance: bool | Mapping[str, float] = False
    cartography: float | None = None
    contradicted_odds: float | None = None
    answerable: int = 0
    consistent: float | None = None

    def __post_init__(self) -> None:
        # A report gives lists back, and one set may be named without a list.
        sets = (self.evaluation_sets,) if isinstance(self.evaluation_sets, str) else tuple(self.evaluation_sets)
        object.__setattr__(self, "evaluation_sets", sets)
        for name, least, most in (*((name, 1.0, inf) for name in FACTORS), *((name, 0.0, 1.0) for name in SHARES)):
            if (value := getattr(self, name)) is not None and not least <= value <= most:
                raise TaskError(f"CheckOptions: {name} is {value!r}; expected {least:g} to {most:g}, or None.")
