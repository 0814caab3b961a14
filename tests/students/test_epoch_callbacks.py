"""ProvenanceCallback and CartographyCallback in a Trainer: their figures, what they leave alone, and resuming."""

import json
import logging

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)

from rebase_hf.errors import StudentError
from rebase_hf.quality.cartography import draw_map, keep_confident
from rebase_hf.students.callbacks import CartographyCallback, ProvenanceCallback
from rebase_hf.students.row_columns import spread_rows
from tests.doubles.tiny_models import ROWS
from tests.students.trainers import LABELS, classification_rows, classifier, make_trainer, rows_with_provenance


class Witness(TrainerCallback):
    """Computes what the others should say, one row at a time; and hears what a tracker hears."""

    def __init__(self, rows):
        self.rows, self.gold, self.heard = rows, [], []

    def on_epoch_end(self, args, state, control, model, **event):
        model.eval()
        with torch.no_grad():
            said = [model(torch.tensor([row["input_ids"]])).logits.softmax(-1)[0] for row in self.rows]
        model.train()
        own = [row["labels"] for row in self.rows]
        self.gold.append([(p[o].item(), p.argmax().item() == o) for p, o in zip(said, own, strict=True)])

    def on_log(self, args, state, control, logs, **event):
        self.heard.append(dict(logs))


def by_source(witnessed, rows):
    told = {}
    for (gold, right), row in zip(witnessed, rows, strict=True):
        told.setdefault(row["provenance"]["dataset"] or "(none)", []).append((-np.log(gold), right))
    return {source: np.mean(own, axis=0) for source, own in told.items()}


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_figures_are_those_of_one_row_at_a_time(tiny_bert, tmp_path, remove, accumulation):
    rows = classification_rows(tiny_bert)
    witness, provenance, watched = Witness(rows), ProvenanceCallback(rows), CartographyCallback(rows)
    trainer = make_trainer(
        tiny_bert,
        tmp_path,
        [provenance, witness, watched],
        rows=rows if remove else rows.remove_columns(["message", "team", "provenance"]),
        remove_unused_columns=remove,
        gradient_accumulation_steps=accumulation,
    )
    trainer.train()
    written = json.loads((tmp_path / "provenance.json").read_text())["epochs"]
    logged = [line for line in trainer.state.log_history if "provenance/(none)/loss" in line]
    heard = [line for line in witness.heard if "provenance/(none)/loss" in line]
    assert len(written) == len(logged) == len(heard) == len(witness.gold) == 3
    for epoch, witnessed in enumerate(witness.gold):
        expected = by_source(witnessed, rows)
        assert set(written[epoch]["sources"]) == set(expected) == {"bank/mails", "bank/chats", "(none)"}
        for source, (loss, accuracy) in expected.items():
            told = written[epoch]["sources"][source]
            assert told["loss"] == pytest.approx(loss, abs=1e-5) and told["accuracy"] == accuracy
            assert (
                logged[epoch][f"provenance/{source}/loss"] == told["loss"] == heard[epoch][f"provenance/{source}/loss"]
            )
            assert told["rows"] == 4
        assert logged[epoch]["step"] == written[epoch]["step"] and logged[epoch]["epoch"] == epoch + 1
    gold = np.array([[p for p, _ in epoch] for epoch in witness.gold])
    right = np.array([[r for _, r in epoch] for epoch in witness.gold])
    assert watched.dynamics.gold == pytest.approx(gold, abs=1e-6) and (watched.dynamics.correct == right).all()
    losses = [line for line in trainer.state.log_history if "loss" in line and "train_loss" not in line]
    assert len(losses) == 3  # the training loss is logged as it would be without


def test_the_map_says_which_rows_to_keep(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    watched = CartographyCallback(rows, share=0.6)
    with pytest.raises(StudentError, match="No epoch has ended yet"):
        watched.to_keep()
    make_trainer(tiny_bert, tmp_path, [watched], rows=rows, learning_rate=5e-3).train()
    found = draw_map(watched.dynamics)
    for team in range(3):  # of a label's four rows the surest two: the .4 quantile lies above the others
        own = [row for row in range(12) if rows[row]["labels"] == team]
        surest = sorted(own, key=lambda row: -found.confidence[row])
        assert [row for row in watched.to_keep() if row in own] == sorted(surest[:2])
    assert watched.to_keep(1.0) == list(range(12))
    told = json.loads((tmp_path / "cartography.json").read_text())
    assert [number for number, row in enumerate(told["rows"]) if row["kept"]] == watched.to_keep()
    assert told["rows"][3]["confidence"] == pytest.approx(found.confidence[3], abs=1e-6)
    assert [row["label"] for row in told["rows"]] == rows["labels"][:]
    figure = (tmp_path / "cartography.svg").read_text()
    assert figure.count("<circle") == 12 and figure.count('class="left"') == 12 - told["kept"]
    assert keep_confident(found, [str(label) for label in rows["labels"]], share=0.6).mask.sum() == told["kept"]


def test_training_is_the_same_with_and_without(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    without = make_trainer(tiny_bert, tmp_path / "a", [], rows=rows)
    without.train()
    watched = make_trainer(tiny_bert, tmp_path / "b", [ProvenanceCallback(rows), CartographyCallback(rows)], rows=rows)
    watched.train()
    for name, value in weights(without).items():
        assert torch.equal(value, weights(watched)[name]), name


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_resumed_training_says_what_an_uninterrupted_one_says(tiny_bert, tmp_path, step):
    """Step 3 is the last of an epoch: its checkpoint was saved before the epoch's end."""
    rows = classification_rows(tiny_bert)

    def callbacks():
        return [ProvenanceCallback(rows), CartographyCallback(rows)]

    whole = callbacks()
    steps = {"save_strategy": "steps", "save_steps": 1}
    undisturbed = make_trainer(tiny_bert, tmp_path / "whole", whole, rows=rows, **steps)
    undisturbed.train()
    resumed = callbacks()
    trainer = make_trainer(
        tiny_bert, tmp_path / "resumed", resumed, rows=rows, model=classifier(tiny_bert, 9), **steps
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(trainer)[name]), name
    for before, after in zip(whole, resumed, strict=True):
        assert before.seen == after.seen and len(after.seen) == 3
    for file in ("provenance.json", "cartography.json"):
        assert (tmp_path / "whole" / file).read_text() == (tmp_path / "resumed" / file).read_text()
    assert resumed[1].to_keep() == whole[1].to_keep()


def test_a_second_training_begins_anew(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    watched = CartographyCallback(rows)
    trainer = make_trainer(tiny_bert, tmp_path, [watched], rows=rows, num_train_epochs=1)
    trainer.train()
    trainer.train()
    assert len(watched.seen) == 1


def test_a_checkpoint_of_other_rows_is_refused(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    make_trainer(tiny_bert, tmp_path, [ProvenanceCallback(rows)], rows=rows, save_strategy="epoch").train()
    other = make_trainer(tiny_bert, tmp_path, [ProvenanceCallback(rows.select(range(9)))], rows=rows)
    with pytest.raises(StudentError, match="is of 12 rows, and 9 are given now"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_it_looks_at_no_more_rows_than_it_may(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    provenance = ProvenanceCallback(rows, max_rows=6, column="team")
    make_trainer(tiny_bert, tmp_path, [provenance], rows=rows, num_train_epochs=1).train()
    told = json.loads((tmp_path / "provenance.json").read_text())
    assert {source: one["rows"] for source, one in told["epochs"][0]["sources"].items()} == dict.fromkeys(LABELS, 2)
    assert told["looked_at"] == 6 and told["rows"] == 12


def test_a_share_of_nothing_is_not_kept(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert)
    watched = CartographyCallback(rows)
    make_trainer(tiny_bert, tmp_path, [watched], rows=rows, num_train_epochs=1).train()
    for share in (0, 2, "all"):
        with pytest.raises(StudentError, match="`share` is"):
            watched.to_keep(share)


def test_rows_are_spread_over_groups_and_over_each_group():
    groups = ["a"] * 10 + ["b"] * 2 + ["c"] * 10
    chosen = spread_rows(groups, 12)
    assert [groups[row] for row in chosen] == ["a"] * 5 + ["b"] * 2 + ["c"] * 5
    assert chosen[:5] == [0, 2, 4, 6, 8]
    assert spread_rows(groups, 100) == list(range(22))
    with pytest.raises(StudentError, match="max_rows is 2, and the rows are from 3 sources"):
        spread_rows(groups, 2)


def test_rows_shown_as_tensors_of_some_columns_are_found_all_the_same(tiny_bert, tmp_path):
    rows = classification_rows(tiny_bert).with_format("torch", columns=["input_ids", "attention_mask", "labels"])
    provenance = ProvenanceCallback(rows)
    make_trainer(tiny_bert, tmp_path, [provenance], rows=rows, num_train_epochs=1).train()
    plain = ProvenanceCallback(classification_rows(tiny_bert))
    make_trainer(tiny_bert, tmp_path, [plain], num_train_epochs=1).train()
    assert provenance.seen == plain.seen


def test_two_of_a_kind_have_two_names(tiny_bert, tmp_path, caplog):
    rows = classification_rows(tiny_bert)
    both = [ProvenanceCallback(rows), ProvenanceCallback(rows.select([0, 5]), column="team", name="held")]
    trainer = make_trainer(tiny_bert, tmp_path, both, rows=rows, num_train_epochs=1)
    trainer.train()
    assert json.loads((tmp_path / "held.json").read_text())["rows"] == 2
    assert any("held/shipping/accuracy" in line for line in trainer.state.log_history)


def test_in_a_seq2seq_trainer(tiny_t5, tmp_path, capsys):
    tokenizer = AutoTokenizer.from_pretrained(tiny_t5)
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5)
    rows = Dataset.from_list(rows_with_provenance()).map(
        lambda row: {**tokenizer(row["message"]), "labels": tokenizer(text_target=row["team"])["input_ids"]}
    )
    watched = [ProvenanceCallback(rows), CartographyCallback(rows)]
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=6,
        learning_rate=1e-2,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        log_level="error",
    )
    collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    trainer = Seq2SeqTrainer(model, arguments, train_dataset=rows, data_collator=collate, callbacks=watched)
    trainer.train()
    model.eval()
    losses = []
    for row in ROWS:
        ids, labels = (
            tokenizer(row["message"], return_tensors="pt"),
            tokenizer(text_target=row["team"], return_tensors="pt"),
        )
        with torch.no_grad():
            losses.append(model(input_ids=ids["input_ids"], labels=labels["input_ids"]).loss.item())
    assert watched[1].dynamics.gold[-1] == pytest.approx(np.exp(-np.array(losses)), abs=1e-5)
    last = watched[0].seen[-1]["sources"]
    assert last["bank/mails"]["loss"] == pytest.approx(np.mean(losses[0::3]), abs=1e-5)
    assert len(watched[1].to_keep()) == 10  # all rows are of one group: the .17 quantile of 12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rows: ProvenanceCallback(rows, column="source"), "no column `source`; it has `message`"),
        (lambda rows: ProvenanceCallback(rows, column="provenance.set"), "Column `provenance.set` is not there"),
        (lambda rows: ProvenanceCallback({"train": rows}), "the splits train"),
        (lambda rows: CartographyCallback(rows.select([])), "no rows"),
        (lambda rows: CartographyCallback(rows, share=0), "`share` is 0"),
        (lambda rows: CartographyCallback(rows, share="a"), "`share` is 'a'"),
        (lambda rows: CartographyCallback(rows, batch_size=0), "`batch_size` is 0"),
        (lambda rows: ProvenanceCallback(rows, max_rows=0), "`max_rows` is 0; expected a whole number of at least 1"),
        (lambda rows: CartographyCallback(IterableDataset.from_generator(lambda: iter(ROWS))), "no stream"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_made(tiny_bert, make, message):
    with pytest.raises(StudentError, match=message):
        make(classification_rows(tiny_bert))


@pytest.mark.parametrize("make", [ProvenanceCallback, CartographyCallback])
def test_a_trainer_over_a_stream_is_refused_by_its_name(tiny_bert, tmp_path, make):
    rows = classification_rows(tiny_bert)
    stream = rows.remove_columns(["message", "team", "provenance"]).to_iterable_dataset()
    trainer = make_trainer(tiny_bert, tmp_path, [make(rows)], rows=stream, max_steps=6)
    with pytest.raises(StudentError, match="The Trainer's train_dataset is a IterableDataset.*no stream"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_rows_that_are_not_prepared_are_refused_before_the_first_step(tiny_bert, tmp_path):
    raw = Dataset.from_list(rows_with_provenance())
    trainer = make_trainer(tiny_bert, tmp_path, [ProvenanceCallback(raw)])
    with pytest.raises(StudentError, match="has no `input_ids`, which the training rows have"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_where_no_trainer_calls_the_figures_are_written_and_it_is_said(tiny_bert, tmp_path, caplog):
    rows = classification_rows(tiny_bert)
    provenance = ProvenanceCallback(rows)
    trainer = make_trainer(tiny_bert, tmp_path, [], rows=rows)
    trainer.state.epoch, trainer.state.global_step = 1.0, 3
    with caplog.at_level(logging.WARNING):
        provenance.on_epoch_end(
            trainer.args,
            trainer.state,
            trainer.control,
            model=trainer.model,
            train_dataloader=trainer.get_train_dataloader(),
        )
    assert "written to disk alone" in caplog.text and (tmp_path / "provenance.json").exists()
