"""What ActiveSynthesisCallback can't work with is said before anything is asked."""

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students.callbacks import ActiveSynthesisCallback
from tests.doubles.tgi_server import TGIServer
from tests.students.active_trainers import EVERY, active_trainer, answer
from tests.students.trainers import LABELS, classification_rows, make_trainer


def wrong_settings(**settings):
    def make(task, index, url, bert, folder):
        return active_trainer(task, index, url, bert, folder, settings=settings)[1]

    return make


def added_later(task, index, url, bert, folder):
    trainer = make_trainer(bert, folder, [], eval_dataset=classification_rows(bert), **EVERY)
    trainer.add_callback(ActiveSynthesisCallback(task, index, url))
    return trainer


def without_texts(task, index, url, bert, folder):
    rows = classification_rows(bert).remove_columns(["message"])
    return make_trainer(
        bert, folder, [ActiveSynthesisCallback(task, index, url)], rows=rows, eval_dataset=rows, **EVERY
    )


def labelled_otherwise(task, index, url, bert, folder):
    def encode(row):
        features = {name: [2, 3] for name in ("input_ids", "token_type_ids", "attention_mask")}
        return features | {"labels": 2 - LABELS.index(row["team"])}

    return active_trainer(task, index, url, bert, folder, encode=encode)[1]


def encoded_to_nothing(task, index, url, bert, folder):
    return active_trainer(task, index, url, bert, folder, encode=lambda row: {"labels": 1})[1]


def of_a_task_of_texts(task, index, url, bert, folder):
    content = {key: value for key, value in task.to_dict().items() if key not in ("labels", "metric")}
    return active_trainer(content, index, url, bert, folder)[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_settings(eval_strategy="no"), "Set eval_strategy='epoch'"),
        (wrong_settings(num_train_epochs=1), "Set num_train_epochs to 2"),
        (
            wrong_settings(dataloader_num_workers=1, dataloader_persistent_workers=True),
            "dataloader_persistent_workers=True keeps copies",
        ),
        (added_later, r"can't grow.*Trainer\(..., train_dataset=..., callbacks="),
        (without_texts, "no column `message`"),
        (labelled_otherwise, "gives the label 2 to a training row that has 0"),
        (encoded_to_nothing, "New rows would have no `input_ids`"),
        (of_a_task_of_texts, "Give encode= the function"),
    ],
)
def test_what_can_not_work_is_said_before_the_first_step(
    home, plain_triage, bank_index, tiny_bert, tmp_path, make, message
):
    with TGIServer(answer=answer) as server:
        trainer = make(plain_triage, bank_index, server.url, tiny_bert, tmp_path)
        with pytest.raises(StudentError, match=message):
            trainer.train()
        assert trainer.state.global_step == 0 and not server.chat_requests


def test_a_smaller_number_of_rows_than_have_joined_is_refused(home, plain_triage, bank_index, tiny_bert, tmp_path):
    each = {"save_strategy": "epoch", "logging_strategy": "no"}
    with TGIServer(answer=answer) as server:
        _, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, settings=each)
        trainer.train()
        _, again = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, max_new_rows=4)
        with pytest.raises(StudentError, match="has 8 rows that joined, and max_new_rows is 4"):
            again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))
