"""The callbacks in SetFit's own Trainer, and active synthesis as rounds of it."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from sklearn.linear_model import LogisticRegression
from transformers import TrainerCallback

from rebase_hf.errors import StudentError
from rebase_hf.setfit_training import import_setfit
from rebase_hf.students.active_setfit import train_in_rounds
from rebase_hf.students.callbacks import ActiveSynthesisCallback, CartographyCallback, ProvenanceCallback
from rebase_hf.task import Task
from tests.doubles.task_answers import about_the_row
from tests.doubles.tgi_server import TGIServer
from tests.students.trainers import LABELS, rows_with_provenance

answer = about_the_row("team", tuple(LABELS))


class Witness(TrainerCallback):
    """Fits a head on what the body says of each text, encoded one by one."""

    def __init__(self, texts, labels):
        self.texts, self.labels, self.gold = texts, labels, []

    def on_epoch_end(self, args, state, control, st_model, **event):
        vectors = np.concatenate([st_model.encode([text], show_progress_bar=False) for text in self.texts])
        said = LogisticRegression().fit(vectors, self.labels).predict_proba(vectors)
        self.gold.append(said[np.arange(len(said)), self.labels])


def setfit_rows(kind="number"):
    rows = [{"text": row["message"], "label": row["team"], **row} for row in rows_with_provenance()]
    dataset = Dataset.from_list(rows).remove_columns(["message", "team"])
    if kind == "class":
        return dataset.cast_column("label", ClassLabel(names=LABELS[::-1]))
    return dataset if kind == "name" else dataset.map(lambda row: {"label": LABELS.index(row["label"])})


def setfit_trainer(encoder, folder, callbacks=(), *, rows=None, labels=None, column_mapping=None, **settings):
    setfit = import_setfit()
    arguments = {"num_epochs": 3, "batch_size": 8, "max_steps": -1, "num_iterations": 1, "seed": 0}
    arguments |= {"report_to": "none", "save_strategy": "no", "show_progress_bar": False, "logging_strategy": "no"}
    return setfit.Trainer(
        model=setfit.SetFitModel.from_pretrained(encoder, labels=labels),
        args=setfit.TrainingArguments(output_dir=str(folder), **arguments | settings),
        train_dataset=setfit_rows() if rows is None else rows,
        callbacks=list(callbacks),
        column_mapping=column_mapping,
    )


def test_figures_are_of_the_body_with_a_head_fitted_on_the_rows(tiny_encoder, tmp_path):
    rows = setfit_rows()
    witness, watched = Witness(rows["text"], rows["label"]), CartographyCallback(rows)
    provenance = ProvenanceCallback(rows)
    trainer = setfit_trainer(tiny_encoder, tmp_path, [provenance, watched, witness], rows=rows)
    trainer.train()
    assert watched.dynamics.gold == pytest.approx(np.array(witness.gold), abs=1e-4)
    told = json.loads((tmp_path / "provenance.json").read_text())["epochs"]
    for epoch, gold in zip(told, witness.gold, strict=True):
        assert epoch["sources"]["bank/mails"]["loss"] == pytest.approx(-np.log(gold[0::3]).mean(), abs=1e-4)
        assert epoch["sources"]["(none)"]["loss"] == pytest.approx(-np.log(gold[2::3]).mean(), abs=1e-4)
    logged = [line for line in trainer.st_trainer.state.log_history if "provenance/bank/mails/loss" in line]
    assert [line["epoch"] for line in logged] == [1.0, 2.0, 3.0]
    assert len(watched.to_keep()) == 9 and (tmp_path / "cartography.svg").exists()
    assert len(trainer.model.predict(["where is my parcel"])) == 1  # the head that SetFit trained itself


def test_training_is_the_same_with_and_without(tiny_encoder, tmp_path):
    rows = setfit_rows()
    coefficients = []
    for callbacks in ([], [ProvenanceCallback(rows), CartographyCallback(rows)]):
        trainer = setfit_trainer(tiny_encoder, tmp_path, callbacks, rows=rows)
        trainer.train()
        coefficients.append(trainer.model.model_head.coef_)
    assert np.array_equal(*coefficients)


def test_columns_that_setfit_maps_are_mapped_here_too(tiny_encoder, tmp_path):
    rows = setfit_rows("name").rename_columns({"text": "message", "label": "team"})
    mapping = {"message": "text", "team": "label"}
    watched = CartographyCallback(rows, column_mapping=mapping)
    setfit_trainer(tiny_encoder, tmp_path, [watched], rows=rows, column_mapping=mapping, num_epochs=1).train()
    plain = CartographyCallback(setfit_rows("name"))
    setfit_trainer(tiny_encoder, tmp_path, [plain], rows=setfit_rows("name"), num_epochs=1).train()
    assert np.array_equal(watched.dynamics.gold, plain.dynamics.gold)
    lost = setfit_trainer(tiny_encoder, tmp_path, [CartographyCallback(rows)], num_epochs=1)
    with pytest.raises(StudentError, match="has no `text`; it has .*`message`.* Give it SetFit's columns"):
        lost.train()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["number", "name", "class"])
def test_active_synthesis_in_rounds(home, plain_triage, bank_index, tiny_encoder, tmp_path, kind):
    names = {"number": LABELS, "name": None, "class": LABELS[::-1]}[kind]
    trained = setfit_rows(kind)
    with TGIServer(answer=answer) as server:
        active = ActiveSynthesisCallback(
            plain_triage, bank_index, server.url, development=trained, max_new_rows=7, rows_per_round=4, min_gain=None
        )
        trainer = setfit_trainer(tiny_encoder, tmp_path, rows=trained, labels=LABELS if kind == "number" else None)
        rounds = train_in_rounds(trainer, active)
        assert len(server.chat_requests) == 7
        again = setfit_trainer(tiny_encoder, tmp_path, rows=trained, labels=LABELS if kind == "number" else None)
        assert [one["run"] for one in train_in_rounds(again, active)] == [one["run"] for one in rounds]
        assert len(server.chat_requests) == 7  # the journal answers
    written = json.loads((tmp_path / "active_synthesis.json").read_text())
    assert written["rounds"] == rounds and written["curve"] == active.active.curve
    assert written["stopped"] == "max_new_rows" and len(written["rows"]) == 7
    logged = [line for line in again.st_trainer.state.log_history if "active_synthesis/score" in line]
    assert logged[-1]["active_synthesis/score"] == active.active.curve[-1]["score"]
    assert [one["rows"] for one in rounds] == [4, 3] and active.active.stopped == "max_new_rows"
    assert len(active.active.curve) == 3
    added = trainer.train_dataset.select(range(12, 19))
    assert added["text"][:] == [example.fields["message"] for example in active.active.examples]
    labels = added["label"][:] if names is None else [names[label] for label in added["label"]]
    assert labels == [example.fields["team"] for example in active.active.examples]
    assert added["provenance"][0]["dataset"] == active.active.examples[0].provenance["dataset"]
    assert trainer.train_dataset.features == trained.features
    probabilities = trainer.model.predict_proba(trained["text"][:], as_numpy=True)
    right = np.array(trainer.model.model_head.classes_)[probabilities.argmax(axis=1)] == np.array(trained["label"][:])
    assert active.active.curve[-1]["score"] == pytest.approx(right.mean())


def test_the_callback_does_not_pass_for_a_training_in_rounds(home, plain_triage, bank_index, tiny_encoder, tmp_path):
    active = ActiveSynthesisCallback(plain_triage, bank_index, "http://127.0.0.1:9")
    trainer = setfit_trainer(tiny_encoder, tmp_path, [active])
    with pytest.raises(StudentError, match=r"active_setfit.train_in_rounds\(trainer, callback\) in place of"):
        trainer.train()


def test_what_setfit_can_not_do_is_said(plain_triage, tiny_encoder, tmp_path):
    content = plain_triage.to_dict()
    texts = Task.load({key: value for key, value in content.items() if key not in ("labels", "metric")})
    pairs = Task.load(
        content | {"inputs": ["a", "b"], "examples": [{"a": "x", "b": "y", "team": label} for label in LABELS]}
    )
    trainer = setfit_trainer(tiny_encoder, tmp_path)
    for task, message in ((texts, "has no labels"), (pairs, "has the inputs a, b; the rows have")):
        with pytest.raises(StudentError, match=message):
            train_in_rounds(trainer, ActiveSynthesisCallback(task, None, "none"))
    told = {"metric": "eval_f1", "encode": dict}
    for name, value in told.items():
        with pytest.raises(StudentError, match=f"`{name}` is given, and a SetFit training in rounds has no use"):
            train_in_rounds(trainer, ActiveSynthesisCallback(content, None, "none", **{name: value}))
    one_label = setfit_rows().filter(lambda row: row["label"] == 1)
    with pytest.raises(StudentError, match="All rows have the label `1`"):
        setfit_trainer(tiny_encoder, tmp_path, [ProvenanceCallback(one_label)]).train()
