"""What reading brings: answers that stand in passages alone, about things that no training row names."""

import random

import pytest
from datasets import Dataset, DatasetInfo

from rebase_hf.index.row_index import RowIndex
from rebase_hf.students import train_student
from rebase_hf.students.reading import Reading
from tests.index.hashing_encoder import HashingEncoder
from tests.students.grounded_data import make_task

RNG = random.Random(0)
NAMES = [
    "".join(RNG.choices("bdgklmnrst", k=2) + RNG.choices("aeiou") + RNG.choices("bdgklmnrst", k=2)) for _ in range(120)
]
LEARNT = 40


def make_word_t5(folder, words):
    """Write a random T5 of width 64 that reads and writes whole words; return its folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(["<pad>", "</s>", "<unk>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", [("</s>", 1)])
    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 4}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=len(vocabulary), **sizes, **ids)).save_pretrained(folder)
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **special).save_pretrained(folder)
    return str(folder)


def weight(name):
    return "light" if NAMES.index(name) % 2 else "heavy"


def answer(name):
    return "yes" if weight(name) == "light" else "no"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    texts = [f"{name} is {weight(name)}" for name in NAMES]
    source = Dataset.from_dict({"text": texts}, info=DatasetInfo(dataset_name="stones", license="mit"))
    return RowIndex.build(tmp_path_factory.mktemp("stones") / "index", [source], encoder=HashingEncoder())


@pytest.mark.slow
def test_a_student_that_reads_knows_what_it_was_not_taught_and_one_that_does_not_guesses(index, tmp_path):
    words = "Float? question: can float Options: yes, no yes Knowledge: Explanation: Answer: it is light heavy"
    base = make_word_t5(tmp_path / "t5", [*words.split(), *NAMES])
    rows = [
        {
            "question": f"can {name} float",
            "answer": answer(name),
            "rationale": f"it is {weight(name)}",
            "passages": [f"{name} is {weight(name)}"],
        }
        for name in NAMES[:LEARNT]
    ]
    asked = [{"question": f"can {name} float", "answer": answer(name)} for name in NAMES[LEARNT:]]
    scores = {}
    for knowledge in (True, False):
        student = train_student(
            make_task(instruction="Float?"),
            rows,
            base_model=base,
            index=index,
            max_pairs=4800,
            include_examples=False,
            knowledge=knowledge,
            rerank=False,
            reading=Reading(max_tokens=12),
        )
        scores[knowledge] = student.evaluate(asked)
    assert scores[True]["retrieved_share"] == 1.0
    assert scores[True]["accuracy"] >= 0.9
    assert scores[False]["accuracy"] <= 0.7
    assert scores[True]["vote_share"] > scores[False]["vote_share"]
