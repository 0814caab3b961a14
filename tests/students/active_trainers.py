"""A Trainer with active synthesis, small."""

from rebase_hf.students.callbacks import ActiveSynthesisCallback
from tests.doubles.task_answers import about_the_row
from tests.students.trainers import LABELS, classification_rows, make_trainer

answer = about_the_row("team", tuple(LABELS))
EVERY = {"eval_strategy": "epoch", "num_train_epochs": 4}


def active_trainer(task, index, url, bert, folder, *, settings=None, **choice):
    rows = classification_rows(bert)
    active = ActiveSynthesisCallback(
        task, index, url, **{"max_new_rows": 8, "rows_per_round": 4, "min_gain": None, "development": rows} | choice
    )
    trainer = make_trainer(bert, folder, [active], rows=rows, eval_dataset=rows, **EVERY | (settings or {}))
    return active, trainer
