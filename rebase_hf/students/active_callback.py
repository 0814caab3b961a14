"""Active synthesis in a Trainer: at an evaluation rows are asked for, at the next epoch they are trained on."""

import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

from rebase_hf.errors import StudentError, require
from rebase_hf.methods.rebase import NAME as REBASE
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.rows import Example
from rebase_hf.students.active import ActiveSynthesis
from rebase_hf.students.active_round import ActiveSettings
from rebase_hf.students.growing_rows import GrowingRows, growing_rows
from rebase_hf.students.kind import check_number
from rebase_hf.students.new_features import Encode, NewFeatures, new_features
from rebase_hf.students.processes import only_first_process
from rebase_hf.students.row_columns import check_map_style, input_rows, source_addresses, spread_rows
from rebase_hf.students.row_figures import model_figures
from rebase_hf.students.trainer_access import (
    calling_trainer,
    evaluation_was_missed,
    found_in_checkpoint,
    keep_in_checkpoints,
    log_through_trainer,
    write_json,
)
from rebase_hf.teacher.target import Teacher

require("transformers", what="A Trainer callback", extra="trainer")

from transformers import TrainerCallback  # noqa: E402 - only once it is known to be there

logger = logging.getLogger(__name__)

MAX_ROWS = 2000
# Epochs are floats in a Trainer's state.
_CLOSE = 1e-6


class ActiveSynthesisCallback(TrainerCallback):  # type: ignore[misc]
    """Asks for rows like those that the student gets wrong or is least certain of, and lets them join its training.

    At an evaluation the student is asked about `development`; what it gets wrong, what it is least certain of and a
    share of easy rows become queries (`active.py`). The first process alone asks the teacher, and the training waits
    for it. At the beginning of the next epoch the new rows join, have a whole epoch, and the next evaluation after it
    says what they brought. Every epoch is as long as the training rows and `max_new_rows` together from the start, so
    that steps and learning rate are laid out for all of them; rows that are not there yet are rows shown twice.

    All that was asked for is part of every checkpoint: a training that is resumed has the same rows, and asks nothing
    again. It needs an evaluation during the training (`eval_strategy`), two epochs at least, and training rows that
    still have the task's inputs beside their features.

    In SetFit, which draws its pairs before it trains, rows can't join: give the callback to
    `active_setfit.train_in_rounds(trainer, callback)` in place of calling `trainer.train()`.

    Args:
        task, index, teacher: As `generate` takes them. Limits of the Teacher hold for all rounds together.
        encode: From a row of the dataset to the features that the model is given: what you gave to `map`. None for a
            classification of one text, by the Trainer's tokenizer.
        development: Labelled rows prepared as the training rows, with the task's inputs; never those of the evaluation
            set, of which this would make training data. None asks about the rows that are trained on.
        metric: Which of the evaluation's metrics the gain is measured by, the higher the better; None is the accuracy
            on the rows that the student is asked about.
        max_new_rows, rows_per_round, easy_share, min_gain, seed: See `ActiveSettings`.
        method, options, checks: As `generate` takes them, for a method with the option `queries`.
        max_rows: Ask the student about so many rows at most, evenly spread.

    Attributes:
        active: What was asked for: `active.rounds`, `active.examples`, `active.curve`, `active.stopped`.

    Example:
        >>> active = ActiveSynthesisCallback("task.yaml", "./index", "http://127.0.0.1:8080",
        ...                                  development=held)                               # doctest: +SKIP
        >>> Trainer(model, args, train_dataset=train, eval_dataset=test, processing_class=tokenizer,
        ...         callbacks=[active]).train()                                              # doctest: +SKIP
    """

    def __init__(
        self,
        task: Any,
        index: Any,
        teacher: Teacher | str,
        *,
        encode: Encode | None = None,
        development: Any = None,
        max_new_rows: int = 200,
        rows_per_round: int = 50,
        easy_share: float = 0.2,
        min_gain: float | None = 0.0,
        metric: str | None = None,
        method: str = REBASE,
        options: Mapping[str, Any] | None = None,
        checks: CheckOptions | None = None,
        max_rows: int = MAX_ROWS,
        batch_size: int | None = None,
        seed: int = 0,
        name: str = "active_synthesis",
    ) -> None:
        settings = ActiveSettings(max_new_rows, rows_per_round, easy_share, min_gain, seed)
        self.active = ActiveSynthesis(task, index, teacher, settings, method=method, options=options, checks=checks)
        self.name = name
        self.metric = metric
        self.development = development
        self.max_rows = max_rows
        check_number("max_rows", max_rows, 1, whole=True)
        if batch_size is not None:
            check_number("batch_size", batch_size, 1, whole=True)
        if development is not None:
            check_map_style(development, "`development`")
        self.encode, self.batch_size = encode, batch_size
        self._rows: GrowingRows | None = None
        self._features: NewFeatures | None = None
        self._joined_at = 0.0
        self._without_metric: list[str] = []

    def on_init_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Give the Trainer rows that can grow in place of its own."""
        trainer = calling_trainer()
        if trainer is None or "st_model" in event:
            return
        check_map_style(trainer.train_dataset, "The Trainer's train_dataset")
        self._rows = GrowingRows(trainer.train_dataset, self.active.settings.max_new_rows)
        trainer.train_dataset = self._rows

    def on_train_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Check what can be checked, and begin anew or with the rows of a checkpoint."""
        rows = growing_rows(self._rows, args, state, event)
        keep_all = not args.remove_unused_columns
        tokenizer = event.get("processing_class")
        self._features = new_features(
            self.active.task, self.encode, rows.first, model=event["model"], tokenizer=tokenizer, all_columns=keep_all
        )
        self._training = input_rows(self.active.task, rows.first)
        self._sources = source_addresses(rows.first)
        if self.development is not None:
            self._sources += source_addresses(self.development)
            self._developed = input_rows(self.active.task, self.development)
        kept = found_in_checkpoint(state, self.name) if state.global_step else None
        if kept and len(kept["examples"]) > self.active.settings.max_new_rows:
            raise StudentError(
                f"The checkpoint has {len(kept['examples'])} rows that joined, and max_new_rows is "
                f"{self.active.settings.max_new_rows}. Resume with the number that the training began with."
            )
        rows.forget_added()
        self.active.begin(kept)
        only_first_process(lambda: self.active.check(self._asked_about()[1]))
        self._joined_at = kept["joined_at"] if kept else 0.0
        self._without_metric = []
        self._join(kept["joined"] if kept else 0)
        trainer = calling_trainer()
        if trainer is not None and self._due(state, control) and evaluation_was_missed(args, state, self.metric):
            trainer.evaluate()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Let the rows join that were asked for since the last epoch began."""
        if self._rows is not None and len(self._rows.added) < len(self.active.examples):
            self._join(len(self.active.examples))
            self._joined_at = float(state.epoch)
            self._keep(state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Say it where no evaluation since the last step had the metric to go by."""
        if self._without_metric:
            held = ", ".join(dict.fromkeys(self._without_metric))
            raise StudentError(f"The evaluation has no metric `{self.metric}`; it has {held}.")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **event: Any) -> None:
        """Ask for rows, where they can still join and those before have had their epoch."""
        if not self._due(state, control) or not self._has_metric(metrics):
            return
        dataset, said = self._asked_about()
        chosen = spread_rows([""] * len(said), min(self.max_rows, len(said)))
        figures = model_figures(
            dataset,
            chosen,
            model=event["model"],
            dataloader=event["train_dataloader"],
            batch_size=self.batch_size or args.eval_batch_size,
        )
        score = float(figures.correct.mean()) if self.metric is None else float(metrics[self.metric])
        if self.active.go_on(score):
            training = self._training + [dict(example.fields) for example in self.active.examples]
            texts = [said[row] for row in chosen]
            taken = only_first_process(lambda: self.active.ask(figures, texts, training, self._sources))
            self.active.accept(taken, step=state.global_step, epoch=round(state.epoch, 4))
        else:
            logger.info("No more rows are asked for: %s, after %d.", self.active.stopped, len(self.active.examples))
        self._keep(state)
        self.write(args, state)
        log_through_trainer(self.told(), control)

    def on_train_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Write what was asked for."""
        self.write(args, state)

    def told(self) -> dict[str, float]:
        """Return what is to be logged after an evaluation."""
        told = self.active.curve[-1] | {"rows": len(self.active.examples)}
        return {f"{self.name}/{what}": float(value) for what, value in told.items() if value is not None}

    def write(self, args: Any, state: Any) -> None:
        """Write all that was asked for so far."""
        rows = [example.to_record() for example in self.active.examples]
        told = {"rounds": self.active.rounds, "curve": self.active.curve, "stopped": self.active.stopped}
        write_json(state, args.output_dir, f"{self.name}.json", told | {"rows": rows})

    def _due(self, state: Any, control: Any) -> bool:
        """Whether rows are to be asked for, now that there is an evaluation, and will be trained on."""
        if self._rows is None or not state.global_step or self.active.stopped is not None:
            return False
        if control.should_training_stop:
            return False
        waiting = len(self._rows.added) < len(self.active.examples)
        asked = bool(self.active.rounds) and self.active.rounds[-1]["step"] >= state.global_step
        last = ceil(state.epoch - _CLOSE) >= state.num_train_epochs or state.global_step >= state.max_steps
        learnt = not self._rows.added or state.epoch >= self._joined_at + 1 - _CLOSE
        return learnt and not (waiting or asked or last)

    def _asked_about(self) -> tuple[Any, list[dict[str, str]]]:
        """Return the rows that the student is asked about, and what they say."""
        if self.development is not None:
            return self.development, self._developed
        return self._rows, self._training + [dict(e.fields) for e in self.active.examples]

    def _has_metric(self, metrics: Mapping[str, float]) -> bool:
        """Whether these are the metrics to go by; of several evaluation sets, each has an evaluation of its own."""
        if self.metric is None:
            return True
        self._without_metric = [] if self.metric in metrics else [*self._without_metric, *metrics]
        return self.metric in metrics

    def _join(self, count: int) -> None:
        """Let the first `count` rows that were asked for be part of the training rows."""
        if self._rows is not None and self._features is not None:
            new: list[Example] = self.active.examples[len(self._rows.added) : count]
            self._rows.add([self._features.of(example) for example in new])

    def _keep(self, state: Any) -> None:
        joined = len(self._rows.added) if self._rows is not None else 0
        keep_in_checkpoints(state, self.name, self.active.state() | {"joined": joined, "joined_at": self._joined_at})
