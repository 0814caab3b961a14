"""Train a SetFit classifier on a stated number of pairs.

SetFit (arXiv 2209.11055) fine-tunes a sentence encoder on pairs of texts, alike when their labels are equal, and fits
a logistic regression on its embeddings. What is learnt, and what it costs, depends on the number of pairs. Here that
number is the same whatever the number of rows, which is what makes two students comparable.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rebase_hf.embedding_model import find_embedding_model
from rebase_hf.errors import StudentError, require
from rebase_hf.training_run import (
    hub_progress_callback,
    logging_as_before,
    quiet_loading,
    show_only,
    training_run,
)

if TYPE_CHECKING:
    from setfit import SetFitModel

# More rows than this no longer change what a linear head learns; encoding them would be most of the time.
MAX_HEAD_ROWS = 20_000


def import_setfit() -> Any:
    """Import SetFit without what its import does to the user's logging and warnings."""
    require("setfit", what="A SetFit classifier", extra="setfit")
    with logging_as_before("setfit"):
        import setfit

    return setfit


def add_missing_labels(
    texts: Sequence[str], labels: Sequence[str], phrases: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return texts and labels with the phrase of every label that has no text yet.

    Args:
        phrases: Label to the phrase that describes a text with it, as in `Task.labels`.
    """
    missing = [label for label in phrases if label not in set(labels)]
    return [*texts, *(phrases[label] for label in missing)], [*labels, *missing]


def draw_pairs(label_ids: Sequence[int], count: int, seed: int) -> list[tuple[int, int, float]]:
    """Draw exactly `count` training pairs: `(row, row, 1.0 if their labels are equal else 0.0)`, in turn.

    Rows take turns in a shuffled order, so all are used equally often, and a label weighs as much as it has rows.
    (SetFit's own sampler lists every pair: quadratic in memory, a label's weight the square of its rows, and always
    the same seed.) A label with one row is paired with itself.
    """
    rng = np.random.default_rng(seed)
    ids = np.asarray(label_ids)
    alike = {label: np.flatnonzero(ids == label) for label in np.unique(ids)}
    unlike = {label: np.flatnonzero(ids != label) for label in alike}
    pairs: list[tuple[int, int, float]] = []
    while len(pairs) < count:
        for row in rng.permutation(len(ids)).tolist():
            same = alike[ids[row]]
            partner = same[(np.searchsorted(same, row) + rng.integers(1, max(len(same), 2))) % len(same)]
            pairs.append((row, int(partner), 1.0))
            pairs.append((row, int(rng.choice(unlike[ids[row]])), 0.0))
            if len(pairs) >= count:
                break
    return pairs[:count]


def train_setfit(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    label_names: Sequence[str],
    base_model: str | None = None,
    seed: int = 0,
    max_pairs: int = 1200,
    batch_size: int = 16,
    max_length: int = 128,
) -> "SetFitModel":
    """Train a SetFit model on exactly `max_pairs` pairs.

    Args:
        texts: The texts, as many as `labels`.
        labels: The label of each text, out of `label_names`.
        label_names: All labels in the order in which the model numbers them. Each needs at least one text: see
            `add_missing_labels`.
        base_model: A sentence-transformers model, folder or Hub id; the default encoder when None.
        max_length: Texts are cut after so many tokens, in training and in the trained model.

    Returns:
        A model with a logistic regression head over the label's numbers; `predict` returns label names.

    Raises:
        StudentError: The labels do not fit `label_names`, or the base model can't be loaded.
        MissingExtraError: SetFit is not installed.
    """
    setfit = import_setfit()
    ids = _label_ids(texts, labels, label_names)
    with training_run(seed) as scratch:
        model = setfit.SetFitModel(
            model_body=load_body(base_model, max_length), model_head=new_head(), labels=list(label_names)
        )
        arguments = setfit.TrainingArguments(
            output_dir=scratch,
            batch_size=batch_size,
            max_steps=math.ceil(max_pairs / batch_size),
            max_length=max_length,
            seed=seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            show_progress_bar=False,
        )
        trainer = _pair_trainer(setfit, texts, draw_pairs(ids, max_pairs, seed), model=model, args=arguments)
        show_only(trainer, hub_progress_callback("training"))
        trainer.train_embeddings(list(texts), ids)
        head_rows = _head_rows(ids, seed)
        trainer.train_classifier([texts[row] for row in head_rows], [ids[row] for row in head_rows])
    model.model_body.eval()
    return model


def load_body(base_model: str | None, max_length: int | None = None) -> Any:
    """Return a sentence-transformers model, its texts cut at `max_length` tokens, by default where it cuts them."""
    from sentence_transformers import SentenceTransformer

    name = find_embedding_model(base_model)
    try:
        with quiet_loading():
            body = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise StudentError(
            f"Base model {name} can't be loaded as a sentence-transformers model: {' '.join(str(error).split())} "
            "Give a folder or a Hub id of one."
        ) from error
    if max_length is not None:
        if not hasattr(body[0], "auto_model"):
            raise StudentError(
                f"Base model {name} has static embeddings, or no transformers encoder: nothing that SetFit could "
                "fine-tune. Give another base model, or train a `linear` student from it."
            )
        body.max_seq_length = min(max_length, body.max_seq_length or max_length)
    return body


def new_head() -> Any:
    """Return the head to fit.

    Labels weigh equally however many rows they have: how often a label was retrieved says nothing about how often it
    will be met.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000, class_weight="balanced")


def _label_ids(texts: Sequence[str], labels: Sequence[str], label_names: Sequence[str]) -> list[int]:
    """Return each label's place in `label_names`, after checking that SetFit can learn from them."""
    if len(texts) != len(labels):
        raise StudentError(f"{len(texts)} texts were given with {len(labels)} labels; give one label a text.")
    number = {label: place for place, label in enumerate(label_names)}
    if unknown := sorted(set(labels) - set(number)):
        raise StudentError(
            f"Label `{unknown[0]}` is not one of {', '.join(label_names)}. Correct the row or the labels."
        )
    if len(set(labels)) < 2:
        held = f"only the label `{labels[0]}`" if labels else "no rows"
        raise StudentError(f"The training data has {held}; a classifier needs texts of at least two labels.")
    return [number[label] for label in labels]


def _head_rows(ids: Sequence[int], seed: int) -> list[int]:
    if len(ids) <= MAX_HEAD_ROWS:
        return list(range(len(ids)))
    # The first row of each label stays, so that no label is lost.
    firsts = set(np.unique(ids, return_index=True)[1].tolist())
    drawn = np.random.default_rng(seed).permutation(len(ids)).tolist()
    return sorted(firsts | set(drawn[: MAX_HEAD_ROWS - len(firsts)]))


def _pair_trainer(setfit: Any, texts: Sequence[str], pairs: list[tuple[int, int, float]], **arguments: Any) -> Any:
    """Return a SetFit trainer that trains on these pairs, once each, instead of drawing its own."""
    from datasets import Dataset

    dataset = Dataset.from_dict(
        {
            "sentence_1": [texts[first] for first, _, _ in pairs],
            "sentence_2": [texts[second] for _, second, _ in pairs],
            "label": [alike for _, _, alike in pairs],
        }
    )

    class PairTrainer(setfit.Trainer):  # type: ignore[misc]
        """SetFit's trainer with the pairs given."""

        def get_dataset(self, x: Any, y: Any, args: Any, max_pairs: int = -1) -> tuple[Any, Any]:
            """Return the pairs and the loss (SetFit asks for them when the embedding phase starts)."""
            return dataset, args.loss(self.model.model_body)

    return PairTrainer(**arguments)
