import random
from collections import Counter

import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.setfit_training import add_missing_labels, draw_pairs, train_setfit
from tests.doubles.tiny_models import TEXTS, make_sentence_encoder

LABELS = ["shipping", "billing", "account"]
ROWS = [(text, label) for label, texts in TEXTS.items() for text in texts]
TRAIN_TEXTS, TRAIN_LABELS = [text for text, _ in ROWS], [label for _, label in ROWS]


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    return make_sentence_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize("rows", [3, 50, 2000])
def test_the_number_of_pairs_is_exact_for_any_number_of_rows(rows):
    pairs = draw_pairs([row % 3 for row in range(rows)], 1201, seed=0)
    assert len(pairs) == 1201
    assert Counter(alike for _, _, alike in pairs) == {1.0: 601, 0.0: 600}


def test_pairs_are_alike_exactly_when_their_labels_are():
    ids = [0, 0, 0, 1, 2, 2]
    assert all((ids[a] == ids[b]) == bool(alike) for a, b, alike in draw_pairs(ids, 200, seed=0))


def test_a_row_is_paired_with_itself_only_when_its_label_has_no_other():
    ids = [0, 0, 0, 1, 2, 2]
    assert {a for a, b, _ in draw_pairs(ids, 400, seed=0) if a == b} == {3}


def test_rows_take_turns_in_pairs():
    firsts = Counter(first for first, _, _ in draw_pairs([0, 1, 0, 1, 1], 100, seed=0))
    assert set(firsts.values()) == {20}


def test_pairs_follow_the_seed():
    ids = [0, 1] * 20
    assert draw_pairs(ids, 40, seed=1) == draw_pairs(ids, 40, seed=1)
    assert draw_pairs(ids, 40, seed=1) != draw_pairs(ids, 40, seed=2)


def test_a_label_without_text_gets_its_phrase():
    texts, labels = add_missing_labels(["a parcel"], ["shipping"], {"shipping": "on its way", "billing": "an invoice"})
    assert list(zip(texts, labels, strict=True)) == [("a parcel", "shipping"), ("an invoice", "billing")]


def test_the_trainer_takes_all_pairs_once(tiny_encoder, monkeypatch):
    import setfit

    seen = []
    original = setfit.Trainer.train_embeddings

    def train_embeddings(self, *args, **kwargs):
        original(self, *args, **kwargs)
        seen.append((self.st_trainer.state.global_step, len(self.st_trainer.train_dataset)))

    monkeypatch.setattr(setfit.Trainer, "train_embeddings", train_embeddings)
    train_setfit(TRAIN_TEXTS, TRAIN_LABELS, label_names=LABELS, base_model=tiny_encoder, max_pairs=40, batch_size=16)
    assert seen == [(3, 40)]


def test_training_twice_gives_the_same_bytes_and_leaves_the_random_state_alone(tiny_encoder):
    def trained(seed):
        model = train_setfit(
            TRAIN_TEXTS, TRAIN_LABELS, label_names=LABELS, base_model=tiny_encoder, seed=seed, max_pairs=64
        )
        return model.predict_proba(["the parcel", "my card"], as_numpy=True)

    random.seed(5)
    state = random.getstate()
    first = trained(seed=3)
    assert random.getstate() == state
    np.random.default_rng(1).random(3)
    random.random()
    assert np.array_equal(trained(seed=3), first)
    assert not np.array_equal(trained(seed=4), first)


def test_head_numbers_labels_in_the_order_given(tiny_encoder):
    model = train_setfit(TRAIN_TEXTS, TRAIN_LABELS, label_names=LABELS, base_model=tiny_encoder, max_pairs=480)
    assert model.labels == LABELS
    assert list(model.model_head.classes_) == [0, 1, 2]
    right = np.mean([a == b for a, b in zip(model.predict(TRAIN_TEXTS), TRAIN_LABELS, strict=True)])
    assert right >= 0.75


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["billing", "refunds"], "Label `refunds` is not one of shipping, billing, account"),
        (["billing", "billing"], "only the label `billing`"),
        (["billing"], "2 texts were given with 1 labels"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(StudentError, match=message):
        train_setfit(["a", "b"], labels, label_names=LABELS)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(StudentError, match="can't be loaded as a sentence-transformers model"):
        train_setfit(["a", "b"], ["billing", "account"], label_names=LABELS, base_model=str(tmp_path))


@pytest.mark.slow
def test_importing_setfit_leaves_the_users_logging_and_warnings_alone():
    import subprocess
    import sys

    code = (
        "import logging, warnings\n"
        "before = list(warnings.filters)\n"
        "from rebase_hf.setfit_training import import_setfit\n"
        "import transformers, sentence_transformers, sklearn.linear_model, evaluate\n"
        "before = list(warnings.filters)\n"
        "import_setfit()\n"
        "logger = logging.getLogger('setfit')\n"
        "assert (logger.level, logger.handlers, logger.propagate) == (0, [], True)\n"
        "assert warnings.filters == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
