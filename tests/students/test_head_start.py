import pytest
from transformers import DataCollatorWithPadding

from rebase_hf.students.encoder import label_config
from rebase_hf.students.head_start import fit_head
from rebase_hf.students.trainer_run import load_pretrained
from tests.doubles.no_doubles import NoDoublesOnDevice
from tests.doubles.tiny_models import ROWS


@pytest.fixture
def model_and_rows(tiny_bert):
    model, tokenizer = load_pretrained(
        "AutoModelForSequenceClassification", tiny_bert, **label_config(["billing", "shipping", "account"])
    )
    numbers = model.config.label2id
    rows = [{**tokenizer(row["message"]), "labels": numbers[row["team"]]} for row in ROWS]
    return model, rows, DataCollatorWithPadding(tokenizer)


def right(model, rows, collator):
    import torch

    model.eval()
    batch = collator(rows)
    with torch.no_grad():
        return float((model(**batch).logits.argmax(-1) == batch["labels"]).float().mean())


def test_a_fitted_head_knows_the_rows_before_the_encoder_is_trained(model_and_rows):
    model, rows, collator = model_and_rows
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_head(model, rows, collator)
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert right(model, rows, collator) >= 0.75


def test_a_device_without_double_precision_will_do(model_and_rows):
    model, rows, collator = model_and_rows
    with NoDoublesOnDevice():
        fit_head(model, rows, collator)
    assert right(model, rows, collator) >= 0.75


def test_a_model_that_judges_every_token_keeps_its_head(tiny_chat):
    model, tokenizer = load_pretrained("AutoModelForSequenceClassification", tiny_chat, num_labels=3)
    model.config.pad_token_id = tokenizer.pad_token_id
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = [{**tokenizer(text), "labels": place % 3} for place, text in enumerate(("ab", "abcd", "a", "abc"))]
    fit_head(model, features, DataCollatorWithPadding(tokenizer))
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_labels_weigh_equally_however_many_rows_they_have(model_and_rows):
    model, rows, collator = model_and_rows
    many = [row for row in rows if row["labels"] == 0] * 20
    few = [next(row for row in rows if row["labels"] == label) for label in (1, 2)]
    fit_head(model, [*many, *few], collator)
    assert right(model, few, collator) == 1
