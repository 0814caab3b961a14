"""What a student says of each row, against the same computed one row at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    LlamaConfig,
    LlamaForCausalLM,
    default_data_collator,
)

from rebase_hf.errors import StudentError
from rebase_hf.students.row_figures import _figures, model_figures
from tests.doubles.no_doubles import NoDoublesOnDevice
from tests.doubles.tiny_models import ROWS
from tests.students.trainers import classification_rows, classifier


def loader(rows, collate):
    return SimpleNamespace(dataset=rows, collate_fn=collate)


def expected(probabilities: torch.Tensor, own: torch.Tensor) -> tuple[float, bool, float]:
    """Return loss, whether right, and margin of a row from (positions, classes) and the labels of its positions."""
    chosen = probabilities[torch.arange(len(own)), own]
    ordered = probabilities.sort(dim=-1).values
    right = bool((probabilities.argmax(dim=-1) == own).all())
    return -chosen.log().mean().item(), right, (ordered[:, -1] - ordered[:, -2]).mean().item()


def agrees(figures, rows) -> None:
    loss, right, margin = zip(*rows, strict=True)
    assert figures.loss == pytest.approx(loss, abs=1e-5)
    assert figures.gold == pytest.approx(np.exp(-np.array(loss)), abs=1e-5)
    assert figures.correct.tolist() == list(right)
    assert figures.margin == pytest.approx(margin, abs=1e-5)


def test_a_classifier(tiny_bert):
    model, rows = classifier(tiny_bert).train(), classification_rows(tiny_bert)
    prepared = rows.remove_columns(["message", "team", "provenance"])
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(tiny_bert))
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    figures = model_figures(rows, [7, 0, 3, 11, 5], model=model, dataloader=loader(prepared, collate), batch_size=2)
    assert model.training and torch.rand(1) == drawn  # neither the mode nor the random numbers were touched
    model.eval()
    told = []
    for number in (7, 0, 3, 11, 5):
        ids = torch.tensor([rows[number]["input_ids"]])
        told.append(
            expected(model(ids).logits.softmax(-1)[0][None].squeeze(1), torch.tensor([rows[number]["labels"]]))
        )
    agrees(figures, told)
    assert figures.label.tolist() == [rows[number]["labels"] for number in (7, 0, 3, 11, 5)]


def test_a_writer_is_judged_token_by_token_without_the_padding(tiny_t5):
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5).eval(), AutoTokenizer.from_pretrained(tiny_t5)
    rows = [
        {**tokenizer(row["message"]), "labels": tokenizer(text_target=row["team"])["input_ids"], "team": row["team"]}
        for row in ROWS[2:8]
    ]
    trained = [{name: row[name] for name in ("input_ids", "attention_mask", "labels")} for row in rows]
    collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    figures = model_figures(rows, range(6), model=model, dataloader=loader(trained, collate), batch_size=4)
    told = []
    for row in trained:
        labels = torch.tensor([row["labels"]])
        said = model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).logits.softmax(-1)[0]
        told.append(expected(said, labels[0]))
    agrees(figures, told)
    assert figures.label.tolist() == [-1] * 6


def test_a_causal_model_predicts_the_next_token():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    ).eval()
    rows = [
        {"input_ids": [3, 4, 5, 6, 7], "labels": [-100, -100, 5, 6, 7]},
        {"input_ids": [9, 8, 7, 6, 5], "labels": [-100, 8, 7, 6, 5]},
    ]
    figures = model_figures(rows, [0, 1], model=model, dataloader=loader(rows, default_data_collator), batch_size=2)
    told = []
    for row, first in zip(rows, (2, 1), strict=True):
        said = model(torch.tensor([row["input_ids"]])).logits.softmax(-1)[0]
        told.append(expected(said[first - 1 : -1], torch.tensor(row["input_ids"][first:])))
    agrees(figures, told)


def test_a_span_has_two_positions_and_one_outside_the_text_does_not_count(tiny_bert):
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_pretrained(tiny_bert).eval()
    rows = [
        {"input_ids": [2, 9, 10, 11, 3], "start_positions": 1, "end_positions": 3},
        {"input_ids": [2, 12, 13, 14, 3], "start_positions": 2, "end_positions": 99},
    ]
    figures = model_figures(rows, [0, 1], model=model, dataloader=loader(rows, default_data_collator), batch_size=2)
    told = []
    for row in rows:
        said = model(torch.tensor([row["input_ids"]]))
        scores = torch.cat([said.start_logits, said.end_logits]).softmax(-1)
        inside = [place for place in (row["start_positions"], row["end_positions"]) if place < 5]
        told.append(expected(scores[: len(inside)], torch.tensor(inside)))
    agrees(figures, told)
    for row, loss in zip(rows[:1], figures.loss, strict=False):  # the model's own loss is the mean of the two
        inputs = {name: torch.tensor([value]) for name, value in row.items()}
        assert model(**inputs).loss.item() == pytest.approx(loss, abs=1e-5)


def test_labels_of_tokens():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config.num_labels = 3
    model = BertForTokenClassification(config).eval()
    rows = [{"input_ids": [5, 6, 7, 8], "labels": [0, 2, -100, 1]}]
    figures = model_figures(rows, [0], model=model, dataloader=loader(rows, default_data_collator), batch_size=1)
    said = model(torch.tensor([rows[0]["input_ids"]])).logits.softmax(-1)[0]
    agrees(figures, [expected(said[[0, 1, 3]], torch.tensor([0, 2, 1]))])


def test_a_device_without_double_precision_will_do():
    scores, labels = torch.randn(3, 2, 5), torch.tensor([[0, 4], [1, -100], [2, 2]])
    with NoDoublesOnDevice():
        assert _figures(scores, labels).dtype == np.float64


def test_of_many_scores_a_few_rows_are_gone_over_at_a_time():
    class Largest(TorchFunctionMode):
        numbers = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.log_softmax:
                self.numbers = max(self.numbers, result.numel())
            return result

    scores, labels = torch.randn(7, 4, 50), torch.randint(50, (7, 4))
    with Largest() as largest:
        found = _figures(scores, labels, at_once=450)
    assert largest.numbers == 400 and np.allclose(found, _figures(scores, labels))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0.5, 0.1], 1, "torch.float32 of shape .*expected one class number a position"),
        ([[1.0, 0.0, 1.0]] * 2, 3, "several labels a row can't be judged"),
        ([-100, 1], 3, "Row 0 has no label that counts"),
    ],
)
def test_what_has_not_one_class_a_position_is_refused(tiny_bert, labels, classes, message):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=classes)
    rows = [{"input_ids": [2, 9, 3], "labels": label} for label in labels]
    with pytest.raises(StudentError, match=message):
        model_figures(rows, [0, 1], model=model, dataloader=loader(rows, default_data_collator), batch_size=2)


def test_rows_that_were_not_prepared_as_the_training_rows_are_named(tiny_bert):
    trained = [{"input_ids": [2, 9, 3], "labels": 1}]
    with pytest.raises(StudentError, match="has no `input_ids`, which the training rows have; it has `message`"):
        model_figures(
            [{"message": "hello", "labels": 1}],
            [0],
            model=classifier(tiny_bert),
            dataloader=loader(trained, default_data_collator),
            batch_size=1,
        )


def test_a_model_without_scores_is_refused(tiny_bert):
    from transformers import AutoModel

    rows = [{"input_ids": [2, 9, 3], "labels": 1}]
    model = AutoModel.from_pretrained(tiny_bert)
    with pytest.raises(StudentError, match="gives last_hidden_state, pooler_output"):
        model_figures(
            rows,
            [0],
            model=model,
            dataloader=loader(rows, lambda features: {"input_ids": torch.tensor([[2, 9, 3]])}),
            batch_size=1,
        )
