"""Tiny models and a task for them."""

import json
from pathlib import Path

import pytest

from rebase_hf.task import Task
from tests.doubles.chat_model import make_chat_model
from tests.doubles.tiny_models import make_bert, make_sentence_encoder, make_t5


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random sentence-transformers model."""
    return make_sentence_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random BERT."""
    return make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random T5."""
    return make_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random Llama with a chat template."""
    return make_chat_model(tmp_path_factory.mktemp("chat"))


@pytest.fixture
def triage(tmp_path: Path) -> Task:
    """A classification task with one example a label but one, and held-out rows."""
    held_out = [
        {"message": "my card was charged twice", "team": "billing"},
        {"message": "where is the parcel", "team": "shipping"},
        {"message": "I forgot my password", "team": "account"},
        {"message": "the refund is wrong", "team": "billing"},
    ]
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, held_out)), encoding="utf-8")
    return Task.load(
        {
            "name": "triage",
            "instruction": "Decide which team should handle a customer's message.",
            "inputs": ["message"],
            "output": "team",
            "labels": {
                "billing": "a payment, invoice, price or refund",
                "shipping": "a parcel on its way",
                "account": "a user's account or password",
            },
            "examples": [
                {"message": "I was billed for something I sent back", "team": "billing"},
                {"message": "the parcel is late", "team": "shipping"},
            ],
            "evaluation": {"path": str(tmp_path / "eval.jsonl")},
        }
    )


@pytest.fixture
def plain_triage(triage: Task) -> Task:
    """The same without held-out rows."""
    return Task.load({key: value for key, value in triage.to_dict().items() if key != "evaluation"})
