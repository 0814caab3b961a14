"""What repeats what in a whole set: the same text, nearly the same words, or the same meaning in other words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rebase_hf.index.encoders import Encoder
from rebase_hf.quality.duplicates import NEAR, NearDuplicates, normalise
from rebase_hf.quality.semantic_duplicates import embed_fields, semantic_duplicates

Kind = Literal["exact", "near", "semantic"]
# Embeddings this near say the same in other words, mostly; lower, questions with other answers go too.
SEMANTIC = 0.95


@dataclass(frozen=True, slots=True)
class Repetition:
    """A row that says what an earlier one says.

    Attributes:
        of: The number of that row; it repeats none itself.
        similarity: Of the two, in the kind's own measure: Jaccard of word 3-grams, or cosine.
    """

    of: int
    similarity: float
    kind: Kind


def find_repeats(
    rows: Sequence[Sequence[str]],
    *,
    near: float | None = NEAR,
    semantic: float | None = None,
    encoder: Encoder | None = None,
    seed: int = 0,
    form: frozenset[str] = frozenset(),
) -> dict[int, Repetition]:
    """Return the rows to leave out, by number, so that no two of the rest repeat each other; the first ones stay.

    Args:
        rows: The compared fields of each row, as many for all; every field must be repeated.
        near: As `NearDuplicates` takes it: 1.0 finds equal texts only. None looks at no words.
        semantic: Cosine of embeddings; None looks at no meaning. What words show already is not embedded.
        encoder: Needed for `semantic`.
        form: Shingles that do not count (`shared_shingles`).

    Raises:
        ValueError: `semantic` is given, and no encoder.
    """
    found: dict[int, Repetition] = {}
    left: list[int] = []
    seen = None if near is None else NearDuplicates(near=near, seed=seed, form=form)
    for number, fields in enumerate(rows):
        repeated = None if seen is None else seen.add(*fields)
        if repeated is None:
            left.append(number)
        else:
            first = left[repeated[0]]
            equal = [normalise(text) for text in fields] == [normalise(text) for text in rows[first]]
            found[number] = Repetition(first, repeated[1], "exact" if equal else "near")
    if semantic is not None:
        if encoder is None:
            raise ValueError(f"semantic={semantic} needs an encoder. Give one, or semantic=None.")
        vectors = embed_fields([rows[number] for number in left], encoder)
        for place, repeat in semantic_duplicates(vectors, near=semantic).items():
            found[left[place]] = Repetition(left[repeat.of], repeat.similarity, "semantic")
    return found
