"""What a small model says of a text, as a prompt tells it (SuperContext, arXiv 2312.15918)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advice:
    """A label, and how sure the model is of it.

    Attributes:
        label: One of the task's.
        confidence: From 0 to 1.
    """

    label: str
    confidence: float

    @property
    def percent(self) -> int:
        """The confidence as prompts have it: in whole percent, so that the last bits of a model decide nothing."""
        return round(100 * self.confidence)
