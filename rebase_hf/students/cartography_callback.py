"""How the student learns each row, epoch by epoch, and which rows to keep."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.quality.cartography import SHARE, Dynamics, Kept, draw_map, keep_confident
from rebase_hf.students.cartography_figure import map_figure
from rebase_hf.students.each_epoch import EachEpoch
from rebase_hf.students.kind import check_number
from rebase_hf.students.learning_map import map_record
from rebase_hf.students.row_figures import RowFigures
from rebase_hf.students.trainer_access import log_through_trainer, write_json, write_text


class CartographyCallback(EachEpoch):
    """Watches how the student learns each row, and says which rows to keep (arXiv 2009.10795).

    After every epoch it looks at the probability that the student gives each row's own label, and whether that label
    is the likeliest. At the end `cartography.json` and the map `cartography.svg` lie in the output folder, and
    `to_keep` names the rows to train on next time. Two or three epochs are the least that say something: from one
    there is no variability.

    Of rows of several positions (texts, spans) the probability is the geometric mean over them. In SetFit what is
    watched is the body with a head fitted on the very rows, as in the paper: rows that are judged also taught.

    Args:
        dataset: The training rows, in the order in which `to_keep` counts them.
        share: Which share of each label's rows to keep; SynthesizRR's by default.

    Example:
        >>> watched = CartographyCallback(train)                                             # doctest: +SKIP
        >>> Trainer(model, args, train_dataset=train, callbacks=[watched]).train()           # doctest: +SKIP
        >>> cleaner = train.select(watched.to_keep())                                        # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: Any,
        *,
        share: float = SHARE,
        name: str = "cartography",
        batch_size: int | None = None,
        column_mapping: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(dataset, name=name, batch_size=batch_size, column_mapping=column_mapping)
        self.share = _checked(share)

    @property
    def dynamics(self) -> Dynamics:
        """What was seen: probability of each row's own label and whether it was the likeliest, epoch by epoch.

        Raises:
            StudentError: No epoch has ended yet.
        """
        if not self.seen:
            raise StudentError("No epoch has ended yet, so nothing is known of the rows. Train first.")
        count = len(self.dataset)
        gold = [np.frombuffer(b64decode(one["gold"]), dtype=np.float32) for one in self.seen]
        right = [np.unpackbits(np.frombuffer(b64decode(one["correct"]), np.uint8), count=count) for one in self.seen]
        return Dynamics(np.stack(gold).astype(np.float64), np.stack(right).astype(bool))

    def to_keep(self, share: float | None = None) -> list[int]:
        """Return the numbers of the rows to keep, in order: of each label the share that it is surest of.

        Args:
            share: Another share than the callback's.

        Raises:
            StudentError: It is none, or no epoch has ended yet.
        """
        return np.flatnonzero(self._kept(share).mask).tolist()

    def take(self, found: RowFigures) -> dict[str, Any]:
        """Return the rows' probabilities, as the checkpoint holds them: 4 bytes and a bit a row."""
        first = {} if self.seen else {"label": found.label.tolist()}
        return first | {
            "gold": b64encode(found.gold.astype(np.float32).tobytes()).decode(),
            "correct": b64encode(np.packbits(found.correct).tobytes()).decode(),
            "mean_gold": float(found.gold.mean()),
            "accuracy": float(found.correct.mean()),
        }

    def tell(self, args: Any, state: Any, control: Any) -> None:
        """Log the means of the last epoch."""
        last = self.seen[-1]
        log_through_trainer({f"{self.name}/{what}": last[what] for what in ("mean_gold", "accuracy")}, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Write the map and its figure."""
        if not self.seen or not state.is_world_process_zero:
            return
        found, kept = draw_map(self.dynamics), self._kept(None)
        content = map_record(found, kept, self.seen[0]["label"], self.share)
        write_json(state, args.output_dir, f"{self.name}.json", content)
        write_text(Path(args.output_dir) / f"{self.name}.svg", map_figure(found, kept.mask.tolist()))

    def _kept(self, share: float | None) -> Kept:
        found = draw_map(self.dynamics)
        labels = [str(label) for label in self.seen[0]["label"]]
        return keep_confident(found, labels, share=self.share if share is None else _checked(share))


def _checked(share: Any) -> float:
    check_number("share", share, 0, 1)
    if not share:
        raise StudentError(f"Option `share` is {share!r}; expected a share of the rows above 0, such as {SHARE}.")
    return float(share)
