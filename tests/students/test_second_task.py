import pytest

from rebase_hf.students.second_task import KEY, SECOND, collating_both, with_second_task
from rebase_hf.students.trainer_run import load_pretrained


@pytest.fixture
def parts(tiny_t5):
    from transformers import DataCollatorForSeq2Seq

    model, tokenizer = load_pretrained("AutoModelForSeq2SeqLM", tiny_t5)
    model.eval()

    def feature(source, target):
        return {**tokenizer(source, return_token_type_ids=False), "labels": tokenizer(target)["input_ids"]}

    return model, collating_both(DataCollatorForSeq2Seq(tokenizer, model=model)), feature


def alone(model, batch):
    return model(**batch).loss.item()


def loss_of(model, weight, batch):
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

    arguments = Seq2SeqTrainingArguments(report_to="none", use_cpu=True)
    trainer = with_second_task(Seq2SeqTrainer, weight)(model=model, args=arguments)
    return trainer.compute_loss(model, dict(batch)).item()


def test_the_loss_is_the_answers_and_a_weight_times_the_rationales(parts):
    model, collate, feature = parts
    answer, rationale = feature("say ab", "ba"), feature("why ab", "because it is turned round")
    both, first, second = collate([{**answer, KEY: rationale}]), collate([answer]), collate([rationale])
    apart = alone(model, first) + 0.5 * alone(model, second)
    assert loss_of(model, 0.5, both) == pytest.approx(apart, rel=1e-5)
    assert loss_of(model, 0.0, both) == pytest.approx(alone(model, first), rel=1e-5)


def test_rows_without_a_rationale_are_learnt_beside_those_with_one(parts):
    model, collate, feature = parts
    answers = [feature("say ab", "ba"), feature("say a longer text", "dc")]
    batch = collate([answers[0], {**answers[1], KEY: feature("why", "so")}])
    assert batch["labels"].shape[0] == 2 and batch[SECOND + "labels"].shape[0] == 1
    assert not [name for name in collate(answers) if name.startswith(SECOND)]
    assert loss_of(model, 1.0, collate(answers)) == pytest.approx(alone(model, collate(answers)), rel=1e-5)
