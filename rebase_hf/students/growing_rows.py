"""Training rows that grow while they are trained on, by as many as there is room for from the start."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.errors import StudentError


class GrowingRows:
    """A map-style dataset of fixed length: its rows, and room for more.

    A Trainer counts its steps, and lays out its learning rate, by the length that a dataset has when training begins;
    so the room is there from the start. What is not filled yet shows rows that there are once more, evenly spread.

    Args:
        rows: The rows to begin with; map-style.
        room: How many may be added.
    """

    def __init__(self, rows: Any, room: int) -> None:
        self.first = rows
        self.added: list[Mapping[str, Any]] = []
        self._room = room

    def __len__(self) -> int:
        return len(self.first) + self._room

    def __getitem__(self, place: int) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        row = self.row_at(place)
        return self.first[row] if row < len(self.first) else self.added[row - len(self.first)]

    @property
    def filled(self) -> int:
        """How many rows there are."""
        return len(self.first) + len(self.added)

    def row_at(self, place: int) -> int:
        """Return which row stands at a place: itself, or in a place not filled yet one of those that there are."""
        if place < self.filled:
            return place
        empty, number = len(self) - self.filled, place - self.filled
        return number % self.filled if empty > self.filled else number * self.filled // empty

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let rows join. Not while the rows are gone through: copies in other processes would not have them.

        Raises:
            ValueError: There is no room for so many.
        """
        if len(self.added) + len(rows) > self._room:
            raise ValueError(f"{len(rows)} rows to add, and room for {self._room - len(self.added)}.")
        self.added += rows

    def forget_added(self) -> None:
        """Be as at the start."""
        self.added.clear()


def growing_rows(rows: GrowingRows | None, args: Any, state: Any, event: Mapping[str, Any]) -> GrowingRows:
    """Return the rows that grow, once it is sure that a Trainer's training goes over them, and sees those that join.

    Args:
        rows: What was put in place of the Trainer's rows when it was made.
        args, state, event: As a Trainer gives them when a training begins.

    Raises:
        StudentError: It does not, or they could join too late or never.
    """
    if "st_model" in event:
        raise StudentError(
            "SetFit draws its pairs before it trains, so rows can't join meanwhile. Leave the callback out of its "
            "Trainer, and call active_setfit.train_in_rounds(trainer, callback) in place of trainer.train()."
        )
    loader = event["train_dataloader"]
    if rows is None or loader.dataset is not rows:
        raise StudentError(
            "The training rows can't grow: the Trainer's train_dataset was set, or the callback added, after the "
            "Trainer was made. Give both to the Trainer: Trainer(..., train_dataset=..., callbacks=[...])."
        )
    if loader.num_workers and loader.persistent_workers:
        raise StudentError(
            "dataloader_persistent_workers=True keeps copies of the training rows in other processes, which new "
            "rows would not reach. Set it to False."
        )
    if args.eval_strategy == "no":
        raise StudentError("Rows are asked for at evaluations, and there are none. Set eval_strategy='epoch'.")
    if state.num_train_epochs < 2:
        raise StudentError("New rows join at the next epoch, and there is one alone. Set num_train_epochs to 2.")
    return rows
