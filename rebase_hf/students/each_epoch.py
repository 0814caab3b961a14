"""A callback that looks at the same rows after every epoch, and survives a resume."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.errors import StudentError, require
from rebase_hf.students.kind import check_number
from rebase_hf.students.row_columns import check_map_style
from rebase_hf.students.row_figures import RowFigures, model_figures
from rebase_hf.students.trainer_access import found_in_checkpoint, keep_in_checkpoints

require("transformers", what="A Trainer callback", extra="trainer")

from transformers import TrainerCallback  # noqa: E402 - only once it is known to be there


class EachEpoch(TrainerCallback):  # type: ignore[misc]
    """Looks at rows of a dataset at the end of every epoch; a subclass says which and makes something of it.

    What it has seen goes into each checkpoint and comes back from there. A checkpoint that was saved at the very last
    step of an epoch was saved before the epoch's end; what is missing then is seen when the training goes on.

    Args:
        dataset: Map-style, as the training rows; other columns may stand beside theirs.
        name: Names the files and what is logged; two callbacks of a kind need two names.
        batch_size: Rows in one forward pass; by default as many as in an evaluation.
        column_mapping: For SetFit, as its Trainer's.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        name: str,
        batch_size: int | None = None,
        column_mapping: Mapping[str, str] | None = None,
    ) -> None:
        check_map_style(dataset)
        if batch_size is not None:
            check_number("batch_size", batch_size, 1, whole=True)
        self.dataset = dataset
        self.name = name
        self.seen: list[dict[str, Any]] = []
        self._batch_size = batch_size
        self._column_mapping = column_mapping

    def rows(self) -> Sequence[int]:
        """Return the numbers of the rows to look at, the same every time."""
        return range(len(self.dataset))

    def take(self, found: RowFigures) -> dict[str, Any]:
        """Return what is to be kept of an epoch, as JSON."""
        raise NotImplementedError

    def tell(self, args: Any, state: Any, control: Any) -> None:
        """Write and log what is known after an epoch."""
        raise NotImplementedError

    def on_train_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Begin anew, or go on from a checkpoint; look at one batch, so that what is wrong is said now."""
        kept = found_in_checkpoint(state, self.name) if state.global_step else None
        self.seen = self._checked(kept)
        rows = self.rows()
        if "st_model" in event:
            from rebase_hf.students.setfit_figures import check_setfit_rows

            check_setfit_rows(self.dataset, rows, model=event["model"], column_mapping=self._column_mapping)
        else:
            check_map_style(event["train_dataloader"].dataset, "The Trainer's train_dataset")
            self._look(args, rows[: self._size(args)], event)
        ended = bool(state.global_step) and float(state.epoch).is_integer()
        if ended and (not self.seen or self.seen[-1]["step"] < state.global_step):
            self.on_epoch_end(args, state, control, **event)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Look at the rows."""
        found = self._look(args, self.rows(), event)
        self.seen.append({"epoch": round(state.epoch, 4), "step": state.global_step, **self.take(found)})
        keep_in_checkpoints(state, self.name, {"rows": len(self.dataset), "seen": self.seen})
        self.tell(args, state, control)

    def _look(self, args: Any, rows: Sequence[int], event: Mapping[str, Any]) -> RowFigures:
        if "st_model" in event:
            from rebase_hf.students.setfit_figures import setfit_figures

            mapping = self._column_mapping
            size = self._size(args)
            return setfit_figures(self.dataset, rows, model=event["model"], batch_size=size, column_mapping=mapping)
        return model_figures(
            self.dataset,
            rows,
            model=event["model"],
            dataloader=event["train_dataloader"],
            batch_size=self._size(args),
        )

    def _size(self, args: Any) -> int:
        evaluated: int = args.eval_batch_size if hasattr(args, "eval_batch_size") else args.embedding_batch_size
        return self._batch_size or evaluated

    def _checked(self, kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        if kept is None:
            return []
        if kept["rows"] != len(self.dataset):
            raise StudentError(
                f"The checkpoint's `{self.name}` is of {kept['rows']} rows, and {len(self.dataset)} are given now. "
                "Resume with the dataset that the training began with."
            )
        return [dict(one) for one in kept["seen"]]
