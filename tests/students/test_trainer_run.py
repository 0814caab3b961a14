import pytest

from rebase_hf.students.trainer_run import load_pretrained, run_trainer
from tests.doubles.tiny_models import ROWS


@pytest.fixture
def parts(tiny_bert):
    model, tokenizer = load_pretrained("AutoModelForSequenceClassification", tiny_bert, num_labels=3)
    rows = [{**tokenizer(row["message"]), "labels": n % 3} for n, row in enumerate(ROWS)]
    return model, tokenizer, rows


def test_every_row_is_shown_as_often_as_it_stands_there_in_batches_of_like_length(parts, tmp_path):
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    model, tokenizer, rows = parts
    collate, seen = DataCollatorWithPadding(tokenizer), []

    def collator(batch):
        seen.append([id(row) for row in batch])
        return collate([dict(row) for row in batch])

    shown = [rows[place] for place in [*range(12), *range(12)]]
    options = {"batch_size": 4, "learning_rate": 1e-3, "seed": 0, "scratch": str(tmp_path)}
    run_trainer(Trainer, TrainingArguments, model, shown, collator=collator, **options)
    assert sorted(number for batch in seen for number in batch) == sorted(map(id, shown))
    length = {id(row): len(row["input_ids"]) for row in rows}
    spread = [max(map(length.get, batch)) - min(map(length.get, batch)) for batch in seen]
    assert len(seen) == 6 and sum(spread) < sum(
        max(map(length.get, batch)) - min(map(length.get, batch))
        for batch in ([id(row) for row in shown[n : n + 4]] for n in range(0, 24, 4))
    )
    assert not model.training


def test_half_precision_weights_are_trained_in_full(tiny_bert, tmp_path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tiny_bert).to(torch.bfloat16).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    model, _ = load_pretrained("AutoModelForSequenceClassification", str(tmp_path), num_labels=2)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
