import json
import time
from dataclasses import replace

import numpy as np
import pytest

from rebase_hf.quality.diversity import diversity_report, mean_similarity, sample_rows
from tests.index.hashing_encoder import HashingEncoder

SUBJECTS = ("invoice", "parcel", "password", "refund", "kettle", "contract", "meter", "ticket", "window", "bicycle")
VERBS = ("arrived", "vanished", "broke", "doubled", "changed", "stopped")


def made_texts(count: int, *, subjects: tuple[str, ...] = SUBJECTS, seed: int = 0) -> list[str]:
    """Return sentences of some twenty words, of which two are from the lists and most are of their own."""
    chance = np.random.default_rng(seed)
    own = [" ".join(f"w{number}" for number in chance.integers(0, 3000, 18)) for _ in range(count)]
    return [f"The {chance.choice(subjects)} {chance.choice(VERBS)} {words}." for words in own]


def test_a_report_is_taken_of_a_stated_number_of_rows_drawn_by_its_seed():
    texts = made_texts(300)
    report = diversity_report(texts, rows=100, seed=3)
    assert (report.rows, report.of, report.seed) == (100, 300, 3)
    chosen = sample_rows(300, 100, 3)
    assert len(set(chosen)) == 100
    assert replace(diversity_report([texts[row] for row in chosen], seed=3), of=300) == report
    assert diversity_report(texts, rows=100, seed=4).self_bleu != report.self_bleu


def test_more_rows_of_the_same_texts_look_less_diverse_which_is_why_rows_are_equal():
    texts = made_texts(400)
    few, many = diversity_report(texts, rows=50), diversity_report(texts, rows=400)
    assert few.distinct[0] > many.distinct[0] and few.self_bleu[0] < many.self_bleu[0]


def test_a_varied_dataset_is_told_from_one_that_repeats_itself():
    varied = diversity_report(made_texts(100), encode=HashingEncoder().encode)
    dull = diversity_report(made_texts(20) * 5, encode=HashingEncoder().encode)
    assert dull.self_bleu[3] > varied.self_bleu[3]
    assert dull.distinct[1] < varied.distinct[1]
    assert dull.unique_share <= 0.2 < varied.unique_share
    assert dull.pairwise_similarity > varied.pairwise_similarity


def test_sources_are_counted_with_their_entropy():
    texts = made_texts(80)
    report = diversity_report(texts, sources=["a"] * 40 + ["b"] * 40)
    assert report.sources.kinds == 2 and report.sources.effective == pytest.approx(2.0)
    assert diversity_report(texts).sources is None
    with pytest.raises(ValueError, match="3 sources were given for 80 texts"):
        diversity_report(texts, sources=["a"] * 3)


def test_similarity_to_the_evaluation_texts_is_reported_with_how_many_were_compared():
    encode = HashingEncoder().encode
    ours = made_texts(100, subjects=SUBJECTS[:5])
    near = diversity_report(ours, encode=encode, evaluation=made_texts(60, subjects=SUBJECTS[:5], seed=9)).evaluation
    assert near.rows == 60
    same = diversity_report(ours, encode=encode, evaluation=ours).evaluation
    assert same.nearest == pytest.approx(1.0, abs=1e-5) and same.mauve == pytest.approx(1.0)
    assert near.nearest < 0.9 and near.mauve < 1.0
    assert diversity_report(ours, encode=encode, evaluation=ours[:19]).evaluation is None
    assert diversity_report(ours, evaluation=ours).evaluation is None


def test_few_texts_are_encoded():
    encoded: list[int] = []

    def encode(texts):
        encoded.append(len(texts))
        return HashingEncoder().encode(texts)

    report = diversity_report(made_texts(200), encode=encode, evaluation=made_texts(90, seed=1), vector_rows=40)
    assert encoded == [40, 40] and report.evaluation.rows == 40 and report.rows == 200


def test_mean_similarity_is_that_of_all_pairs():
    vectors = HashingEncoder().encode(made_texts(30))
    pairs = [float(a @ b) for i, a in enumerate(vectors) for b in vectors[:i]]
    assert mean_similarity(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_the_report_is_json_with_short_numbers():
    report = diversity_report(made_texts(60), sources=["a"] * 60).to_report()
    assert json.loads(json.dumps(report)) == report
    assert list(report["self_bleu"]) == ["1", "2", "3", "4", "5"] and list(report["distinct"]) == ["1", "2", "3"]
    assert report["sources"] == {"count": 60, "kinds": 1, "entropy": 0.0, "effective": 1.0}
    assert set(report["entities"]) == {"date", "money", "number", "name"}
    assert report["pairwise_similarity"] is report["evaluation"] is None


def test_a_thousand_rows_take_seconds():
    texts, held = made_texts(1000), made_texts(1000, seed=1)
    began = time.process_time()
    diversity_report(texts, encode=HashingEncoder().encode, evaluation=held)
    assert time.process_time() - began < 20
