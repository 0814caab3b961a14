"""ActiveSynthesisCallback in a Trainer: rows join at epoch boundaries, and a resume asks nothing again."""

import json
import shutil

import pytest
import torch
from datasets import ClassLabel
from transformers import AutoTokenizer, DataCollatorWithPadding, TrainerCallback

from rebase_hf.errors import StudentError, TeacherUnavailable
from rebase_hf.students.callbacks import ActiveSynthesisCallback, CartographyCallback, ProvenanceCallback
from tests.doubles.tgi_server import TGIServer
from tests.students.active_trainers import EVERY, active_trainer, answer
from tests.students.trainers import LABELS, classification_rows, make_trainer


class Seeing:
    """A collator that remembers the texts it was given, training step by training step."""

    def __init__(self, bert):
        self.tokenizer = AutoTokenizer.from_pretrained(bert)
        self.collate = DataCollatorWithPadding(self.tokenizer)
        self.seen: list[str] = []

    def __call__(self, features):
        self.seen += [self.tokenizer.decode(feature["input_ids"]) for feature in features]
        assert not {"message", "provenance"} & set(features[0])
        return self.collate(features)

    def read(self, text):
        return self.tokenizer.decode(self.tokenizer(text)["input_ids"])


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_new_rows_join_at_the_next_epoch_and_steps_are_laid_out_for_them(
    home, plain_triage, bank_index, tiny_bert, tmp_path, accumulation
):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(
            plain_triage,
            bank_index,
            server.url,
            tiny_bert,
            tmp_path,
            settings={"gradient_accumulation_steps": accumulation},
        )
        trainer.data_collator = seeing = Seeing(tiny_bert)
        trainer.train()
        assert len(server.chat_requests) == 8
    epoch_steps = 5 if accumulation == 1 else 3
    assert [(one["step"], one["rows"]) for one in active.active.rounds] == [(epoch_steps, 4), (2 * epoch_steps, 4)]
    assert trainer.state.max_steps == trainer.state.global_step == 4 * epoch_steps
    assert set(trainer.lr_scheduler.get_last_lr()) == {0.0}
    texts = [seeing.read(example.fields["message"]) for example in active.active.examples]
    # An epoch shows 20 rows; the evaluation of 12 rows and the 12 asked about pass the same collator.
    trained = only_training(seeing.seen, 20, asked_about=[12, 12, 12, 0])
    for epoch, joined in enumerate((0, 4, 8, 8)):
        assert len(trained[epoch]) == 20
        for number, text in enumerate(texts):
            assert (text in trained[epoch]) == (number < joined), (epoch, number)
    assert sorted(trained[3]) == sorted(trained[2])  # nothing is shown twice once all the room is filled
    assert len(set(trained[3])) == 20


def only_training(seen, shown, *, asked_about):
    """Return what was shown in each epoch, of what passed the collator: rows, an evaluation, and rows asked about."""
    epochs, place = [], 0
    for asked in asked_about:
        epochs.append(seen[place : place + shown])
        place += shown + 12 + asked
    assert place == len(seen)
    return epochs


def test_scores_are_the_accuracy_on_the_rows_asked_about(home, plain_triage, bank_index, tiny_bert, tmp_path):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path)
        trainer.compute_metrics = lambda said: {"right": float((said.predictions.argmax(-1) == said.label_ids).mean())}
        trainer.train()
    evaluated = [line["eval_right"] for line in trainer.state.log_history if "eval_right" in line]
    told = [line["active_synthesis/score"] for line in trainer.state.log_history if "active_synthesis/score" in line]
    assert told == pytest.approx(evaluated[:3]) == [point["score"] for point in active.active.curve]
    written = json.loads((tmp_path / "active_synthesis.json").read_text())
    assert [row["message"] for row in written["rows"]] == [e.fields["message"] for e in active.active.examples]
    assert written["rounds"] == active.active.rounds and written["stopped"] == "max_new_rows"


@pytest.mark.slow
@pytest.mark.parametrize(("step", "asks_again"), [(3, 8), (5, 8), (7, 4), (10, 4), (12, 0)])
def test_a_resumed_training_has_the_same_rows_and_asks_nothing_again(
    home, plain_triage, bank_index, tiny_bert, tmp_path, step, asks_again
):
    steps = {"save_strategy": "steps", "save_steps": 1, "logging_strategy": "no"}
    with TGIServer(answer=answer) as server:
        whole, undisturbed = active_trainer(
            plain_triage, bank_index, server.url, tiny_bert, tmp_path / "whole", settings=steps
        )
        undisturbed.train()
        assert len(server.chat_requests) == 8

        def resumed(folder):
            active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, folder, settings=steps)
            trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
            if step in (5, 10):
                # Saved before the evaluation at an epoch's end, which draws a random number: a Trainer that goes on
                # from there trains otherwise, with this callback or without. The evaluation is made up for.
                assert active.active.examples[: 4 * step // 5] == whole.active.examples[: 4 * step // 5]
                assert active.active.curve[: step // 5] == whole.active.curve[: step // 5]
                assert len(active.active.curve) == len(whole.active.curve)
                return
            assert active.active.examples == whole.active.examples and active.active.curve == whole.active.curve
            for name, value in weights(undisturbed).items():
                assert torch.equal(value, weights(trainer)[name]), name

        resumed(tmp_path / "resumed")
        assert step in (5, 10) or len(server.chat_requests) == 8  # what is not in the checkpoint is in the journal
        server.forget()
        shutil.rmtree(home)
        resumed(tmp_path / "elsewhere")
        assert len(server.chat_requests) == asks_again


def test_checkpoints_at_the_end_of_an_epoch_hold_its_round(home, plain_triage, bank_index, tiny_bert, tmp_path):
    each = {"save_strategy": "epoch", "logging_strategy": "no"}
    with TGIServer(answer=answer) as server:
        whole, undisturbed = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, settings=each)
        undisturbed.train()
        shutil.rmtree(home)
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, settings=each)
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
        assert len(server.chat_requests) == 8
    assert active.active.examples == whole.active.examples
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(trainer)[name]), name


def test_it_stops_when_rows_bring_too_little(home, plain_triage, bank_index, tiny_bert, tmp_path):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, min_gain=1e6)
        trainer.train()
        assert len(server.chat_requests) == 4
    assert active.active.stopped == "gain_below_threshold" and len(active.active.curve) == 2
    assert trainer.train_dataset.filled == 16 and len(trainer.train_dataset) == 20


def test_it_stands_beside_the_others(home, plain_triage, bank_index, tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    with TGIServer(answer=answer) as server:
        active = ActiveSynthesisCallback(plain_triage, bank_index, server.url, max_new_rows=4, min_gain=None)
        watched = [ProvenanceCallback(rows), CartographyCallback(rows), active]
        make_trainer(tiny_bert, tmp_path, watched, rows=rows, eval_dataset=rows, **EVERY).train()
    assert len(active.active.examples) == 4 and len(watched[0].seen) == len(watched[1].seen) == 4


@pytest.mark.parametrize("when", ["before the last epoch", "while rows wait"])
def test_once_the_training_is_to_end_no_more_is_asked_for(home, plain_triage, bank_index, tiny_bert, tmp_path, when):
    class Stopping(TrainerCallback):
        def on_evaluate(self, args, state, control, **event):
            control.should_training_stop = state.epoch >= (1 if when == "before the last epoch" else 2)

    rows = classification_rows(tiny_bert)
    with TGIServer(answer=answer) as server:
        active = ActiveSynthesisCallback(plain_triage, bank_index, server.url, rows_per_round=4, min_gain=None)
        make_trainer(tiny_bert, tmp_path, [Stopping(), active], rows=rows, eval_dataset=rows, **EVERY).train()
        asked = 0 if when == "before the last epoch" else 4
        assert len(server.chat_requests) == asked == len(active.active.examples)


def test_without_development_rows_those_trained_on_are_asked_about(
    home, plain_triage, bank_index, tiny_bert, tmp_path
):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(
            plain_triage, bank_index, server.url, tiny_bert, tmp_path, development=None, max_rows=6
        )
        trainer.train()
    assert [one["rows"] for one in active.active.rounds] == [4, 4]


def test_a_metric_of_the_evaluation_may_decide(home, plain_triage, bank_index, tiny_bert, tmp_path):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, metric="eval_best")
        trainer.compute_metrics = lambda said: {"best": 0.25}
        trainer.train()
        assert [point["score"] for point in active.active.curve] == [0.25] * 3
        _, wrong = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, metric="eval_f1")
        with pytest.raises(StudentError, match="no metric `eval_f1`; it has eval_loss"):
            wrong.train()


@pytest.mark.parametrize("metric", [None, "eval_a_right", "eval_b_right", "eval_c_right"])
def test_of_several_evaluation_sets_the_one_with_the_metric_decides(
    home, plain_triage, bank_index, tiny_bert, tmp_path, metric
):
    rows = classification_rows(tiny_bert)
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, metric=metric)
        trainer.eval_dataset = {"a": rows, "b": rows.select([3])}
        trainer.compute_metrics = lambda said: {"right": float(len(said.label_ids))}
        if metric == "eval_c_right":
            with pytest.raises(StudentError, match="no metric `eval_c_right`; it has eval_a_loss.*, eval_b_right"):
                trainer.train()
            return
        trainer.train()
    assert [one["step"] for one in active.active.rounds] == [5, 10]
    scores = {point["score"] for point in active.active.curve}
    assert metric is None or scores == {12.0 if metric == "eval_a_right" else 1.0}


def test_rows_whose_labels_are_numbered_otherwise_are_encoded_as_they_are(
    home, plain_triage, bank_index, tiny_bert, tmp_path
):
    """The user's ClassLabel counts the labels backwards, and so does the user's own function."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    names = LABELS[::-1]

    def encode(row):
        return {**tokenizer(row["message"], truncation=True, max_length=20), "labels": row["team"]}

    rows = classification_rows(tiny_bert).remove_columns(["labels", "input_ids", "token_type_ids", "attention_mask"])
    rows = rows.cast_column("team", ClassLabel(names=names)).map(encode)
    with TGIServer(answer=answer) as server:
        active = ActiveSynthesisCallback(
            plain_triage, bank_index, server.url, encode=encode, max_new_rows=4, min_gain=None
        )
        trainer = make_trainer(tiny_bert, tmp_path, [active], rows=rows, eval_dataset=rows, **EVERY)
        trainer.train()
    added = trainer.train_dataset.added
    assert [names[row["labels"]] for row in added] == [e.fields["team"] for e in active.active.examples]
    assert all(len(row["input_ids"]) <= 20 for row in added)


@pytest.mark.parametrize("kind", ["list", "tensors", "all columns"])
def test_training_rows_of_other_kinds(home, plain_triage, bank_index, tiny_bert, tmp_path, kind):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = classification_rows(tiny_bert)
    settings = {"remove_unused_columns": kind != "all columns"}

    def without_text(features):
        return DataCollatorWithPadding(tokenizer)([{k: v for k, v in f.items() if k != "message"} for f in features])

    if kind == "list":
        rows = list(rows)
    elif kind == "tensors":
        rows = rows.with_format("torch")
    else:
        rows = rows.remove_columns(["team", "provenance"])
    with TGIServer(answer=answer) as server:
        active = ActiveSynthesisCallback(plain_triage, bank_index, server.url, max_new_rows=4, min_gain=None)
        trainer = make_trainer(tiny_bert, tmp_path, [active], rows=rows, eval_dataset=rows, **EVERY | settings)
        if kind == "all columns":
            trainer.data_collator = without_text
        trainer.train()
    assert trainer.train_dataset.filled == 16
    assert set(trainer.train_dataset[15]) == set(trainer.train_dataset[0])
    assert isinstance(trainer.train_dataset[15]["input_ids"], torch.Tensor) == (kind == "tensors")


@pytest.mark.slow
def test_a_teacher_that_fails_ends_the_training_and_a_resume_goes_on(
    home, plain_triage, bank_index, tiny_bert, tmp_path
):
    each = {"save_strategy": "steps", "save_steps": 2}
    with TGIServer(answer=answer) as server:
        _, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, settings=each)
        port = int(server.url.rsplit(":", 1)[1])
    # The double is gone: the task, index and teacher were known to be right, and then nothing listens.
    with pytest.raises(TeacherUnavailable):
        trainer.train()
    with TGIServer(answer=answer, port=port) as server:
        active, trainer = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path, settings=each)
        trainer.train()
    assert len(active.active.examples) == 8


@pytest.mark.slow
def test_workers_of_a_loader_see_the_rows_that_joined(home, plain_triage, bank_index, tiny_bert, tmp_path):
    with TGIServer(answer=answer) as server:
        active, trainer = active_trainer(
            plain_triage, bank_index, server.url, tiny_bert, tmp_path / "two", settings={"dataloader_num_workers": 2}
        )
        trainer.train()
        alone, single = active_trainer(plain_triage, bank_index, server.url, tiny_bert, tmp_path / "one")
        single.train()
    assert active.active.examples == alone.active.examples
    for name, value in weights(single).items():
        assert torch.equal(value, weights(trainer)[name]), name
