"""How well the student does on the rows of each source dataset, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rebase_hf.students.each_epoch import EachEpoch
from rebase_hf.students.kind import check_number
from rebase_hf.students.row_columns import column_values, spread_rows
from rebase_hf.students.row_figures import RowFigures
from rebase_hf.students.trainer_access import log_through_trainer, write_json

NO_SOURCE = "(none)"
MAX_ROWS = 2000


class ProvenanceCallback(EachEpoch):
    """Tells, after every epoch, the loss and accuracy of the rows of each source dataset.

    Logged through the Trainer as `provenance/SOURCE/loss` and `provenance/SOURCE/accuracy`, so that every tracker
    shows them, and written to `provenance.json` in the output folder, for the card. The loss is the cross-entropy of
    the rows' labels, without label smoothing or a loss of your own; accuracy is the share of rows whose labels are
    all the likeliest, of texts token by token given those before.

    In SetFit the figures are of the body with a head fitted on these rows (`setfit_figures.py`): its own head is
    trained after the last epoch. It trains one epoch unless told otherwise.

    Args:
        dataset: The training rows, or others prepared alike.
        column: Which column names a row's source; a dot leads into a struct. Rows of none are told as `(none)`.
        max_rows: Look at so many rows at most, evenly spread over each source; what small sources leave goes to the
            others.

    Attributes:
        seen: What was found after each epoch: `epoch`, `step`, and `sources`, each with `rows`, `loss`, `accuracy`.

    Example:
        >>> trainer = Trainer(model, args, train_dataset=train,
        ...                   callbacks=[ProvenanceCallback(train)])  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: Any,
        *,
        column: str = "provenance.dataset",
        max_rows: int = MAX_ROWS,
        name: str = "provenance",
        batch_size: int | None = None,
        column_mapping: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(dataset, name=name, batch_size=batch_size, column_mapping=column_mapping)
        check_number("max_rows", max_rows, 1, whole=True)
        self.column = column
        named = column_values(dataset, column)
        self._sources = [NO_SOURCE if source is None else str(source) for source in named]
        self._rows = spread_rows(self._sources, max_rows)

    def rows(self) -> Sequence[int]:
        """Return the numbers of the rows that are looked at."""
        return self._rows

    def take(self, found: RowFigures) -> dict[str, Any]:
        """Return each source's rows, mean loss and accuracy."""
        of_row = np.asarray([self._sources[row] for row in self._rows])
        told = {}
        for source in sorted(set(of_row.tolist())):
            own = of_row == source
            told[source] = {
                "rows": int(own.sum()),
                "loss": float(found.loss[own].mean()),
                "accuracy": float(found.correct[own].mean()),
            }
        return {"sources": told}

    def tell(self, args: Any, state: Any, control: Any) -> None:
        """Write all epochs, and log the last."""
        content = {"column": self.column, "rows": len(self.dataset), "looked_at": len(self._rows), "epochs": self.seen}
        write_json(state, args.output_dir, f"{self.name}.json", content)
        figures = {
            f"{self.name}/{source}/{measure}": told[measure]
            for source, told in self.seen[-1]["sources"].items()
            for measure in ("loss", "accuracy")
        }
        log_through_trainer(figures, control)
