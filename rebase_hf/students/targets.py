"""What a student learns to write, as tokens: the answer whole, whatever becomes of the reasoning before it."""

import logging
from collections.abc import Callable, Sequence

from rebase_hf.errors import StudentError
from rebase_hf.methods.grounded_text import MARKER

logger = logging.getLogger(__name__)

Tokens = Callable[[str], list[int]]


class Targets:
    """Makes texts into at most `room` tokens to learn, and counts those that had to be shortened.

    Of a text with the marker the rationale is shortened, so that marker, answer and the end of the text are learnt; of
    another text, the end.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.shortened = 0

    def of(self, text: str, tokens: Tokens) -> list[int]:
        """Return the tokens of a text, the last of them the one that ends it.

        Args:
            tokens: Returns a text's tokens, with the one that ends it.
        """
        ids = tokens(text)
        if len(ids) <= self._room:
            return ids
        self.shortened += 1
        rationale, marker, answer = text.rpartition(f"\n{MARKER}")
        least = tokens(f"{MARKER}{answer}")
        if not marker or len(least) > self._room:
            return ids[: self._room - 1] + ids[-1:]
        return self._with_less_reasoning(rationale, marker + answer, tokens) or least

    def tell(self, rows: int) -> None:
        """Log how many texts were shortened, of how many rows."""
        if self.shortened:
            logger.warning(
                "%d texts of %d rows have more than the %d tokens that a student writes; their rationales are "
                "shortened, or what they end with.",
                *(self.shortened, rows, self._room),
            )

    def _with_less_reasoning(self, rationale: str, ending: str, tokens: Tokens) -> list[int] | None:
        """Return the tokens of as much of a rationale as fits before its ending; None where nothing does."""
        best, low, high = None, 0, len(rationale) - 1
        while low < high:
            middle = (low + high + 1) // 2
            kept = rationale[:middle]
            # A word that is cut says nothing; a text without blanks has none to cut at.
            ids = tokens((kept.rpartition(" ")[0] or kept).rstrip() + ending)
            if len(ids) <= self._room:
                best, low = ids, middle
            else:
                high = middle - 1
        return best


def choices_of(labels: Sequence[str], tokens: Tokens) -> dict[tuple[int, ...], str]:
    """Return the labels by their tokens, for a student that is to write one of them.

    Raises:
        StudentError: Two labels have the same tokens.
    """
    choices: dict[tuple[int, ...], str] = {}
    for label in labels:
        other = choices.setdefault(tuple(tokens(label)), label)
        if other != label:
            raise StudentError(
                f"The labels `{other}` and `{label}` are the same tokens to this base model, so it could not write "
                "one rather than the other. Take another base model, a kind of student that does not write, or other "
                "labels."
            )
    return choices
