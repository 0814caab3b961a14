import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetInfo

from rebase_hf.errors import StudentError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.grounded_text import passage_text
from rebase_hf.students.candidate_pools import Asked, Pool, draw, make_pools
from rebase_hf.students.reranker import Reranker
from rebase_hf.students.reranker_measure import measure_reranker
from rebase_hf.students.reranker_training import RerankerOptions, ranking_loss, temperature, train_reranker
from tests.index.hashing_encoder import HashingEncoder


def index_of(folder: Path, texts: list[str]) -> RowIndex:
    rows = Dataset.from_dict({"text": texts}, info=DatasetInfo(dataset_name="facts", license="mit"))
    return RowIndex.build(folder, [rows], encoder=HashingEncoder())


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> RowIndex:
    """50 rows that share a word with the question, 50 with the rationale, 10 with both; the last two are one text."""
    both = [f"amber note {n} says harbour and lantern" for n in range(10)]
    asked = [f"amber note {n} of the harbour" for n in range(10, 60)]
    told = [f"lantern note {n} " + "of the keeper " * (n % 5) for n in range(60, 110)]
    return index_of(tmp_path_factory.mktemp("facts") / "index", [*both, *asked, *told, "quartz", "quartz harbour"])


@pytest.fixture(scope="module")
def pool(facts) -> Pool:
    [pool] = make_pools(facts, [Asked("amber harbour", "lantern keeper")])
    return pool


def test_a_pool_is_32_by_the_rationale_and_32_by_the_question_no_row_twice(facts, pool):
    [(by_rationale, _)] = facts.words().search(["lantern keeper"], 32)
    [(by_question, _)] = facts.words().search(["amber harbour"], 32)
    assert pool.by_rationale == 32
    assert set(pool.keys[:32]) == set(by_rationale.tolist())
    assert set(pool.keys) == set(by_rationale.tolist()) | set(by_question.tolist())
    assert len(set(pool.keys)) == len(pool.keys) == len(set(pool.texts))
    assert pool.texts == tuple(passage_text(row) for row in facts.rows(pool.keys))


def test_every_passage_is_scored_against_the_rationale(facts, pool):
    [(keys, scores)] = facts.words().search(["lantern keeper"], len(facts))
    expected = dict(zip(keys.tolist(), scores.tolist(), strict=True))
    assert pool.relevance == pytest.approx([expected.get(key, 0.0) for key in pool.keys], rel=1e-5)
    assert min(pool.relevance) == 0.0
    assert min(pool.relevance[:32]) > 0.0


def test_a_row_that_both_find_stands_with_the_rationales(facts):
    [pool] = make_pools(facts, [Asked("amber lantern", "harbour lantern")])
    [(by_rationale, _)] = facts.words().search(["harbour lantern"], 32)
    [(by_question, _)] = facts.words().search(["amber lantern"], 32)
    shared = set(by_rationale.tolist()) & set(by_question.tolist())
    assert shared
    assert shared <= set(pool.keys[: pool.by_rationale])


def test_passages_that_may_not_be_read_are_in_no_pool(facts, pool):
    barred = pool.texts[0]
    [left] = make_pools(facts, [Asked(pool.question, "lantern keeper", lambda text: text != barred)])
    assert barred not in left.texts
    assert set(left.texts) < set(pool.texts)


def test_a_pool_of_one_passage_teaches_nothing(facts):
    assert make_pools(facts, [Asked("nothing", "nowhere"), Asked("lighthouse", "nowhere else")]) == []
    [pool] = make_pools(facts, [Asked("quartz", "quartz")])
    assert len(pool.texts) == 2


def test_eight_are_drawn_four_of_each(pool):
    for seed in range(20):
        drawn = draw(pool, np.random.default_rng(seed))
        assert len(set(drawn)) == 8
        assert sum(place < pool.by_rationale for place in drawn) == 4
    assert draw(pool, np.random.default_rng(0)) != draw(pool, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("first", "rest", "expected"), [(1, 20, (1, 7)), (20, 2, (6, 2)), (3, 2, (3, 2)), (20, 0, (8, 0))]
)
def test_where_one_kind_is_short_more_are_drawn_of_the_other(first, rest, expected):
    texts = tuple(f"text {n}" for n in range(first + rest))
    drawn = draw(Pool("q", texts, tuple(range(len(texts))), (0.0,) * len(texts), first), np.random.default_rng(0))
    assert (sum(place < first for place in drawn), sum(place >= first for place in drawn)) == expected


@pytest.fixture(scope="module")
def trained(tiny_bert, facts):
    """A reranker, what it was trained on, and the mean loss over all pools before and after."""
    questions = [(f"amber note {n} harbour", f"lantern note {n + 50} keeper") for n in range(10, 30)]
    pools = make_pools(facts, [Asked(*pair) for pair in questions])
    options = RerankerOptions(epochs=4, learning_rate=3e-3, score_temperature=(1.0, 1.0), bm25_temperature=(1.0, 1.0))
    before = mean_loss(Reranker.new(tiny_bert), pools)
    reranker = train_reranker(pools, base_model=tiny_bert, seed=1, options=options)
    return reranker, pools, before, mean_loss(reranker, pools)


def mean_loss(reranker: Reranker, pools: list[Pool]) -> float:
    import torch

    losses = []
    for pool in pools:
        tokens = len(reranker.tokenizer(pool.question)["input_ids"])
        scores = torch.tensor(reranker.scores(pool.question, pool.texts) * tokens)
        relevance = torch.tensor(pool.relevance)
        losses.append(float(ranking_loss(scores, relevance, bm25_temperature=1.0, score_temperature=1.0)))
    return float(np.mean(losses))


def test_the_divergence_goes_down(trained):
    _, _, before, after = trained
    assert after < 0.9 * before


def test_what_it_was_trained_with_is_known(trained):
    reranker, pools, _, _ = trained
    assert reranker.facts["pools"] == len(pools) == 20
    assert reranker.facts["shown"] == 80
    assert len(reranker.facts["losses"]) == 5
    assert reranker.facts["base_model"] == Path(reranker.query.config._name_or_path).name


def test_both_towers_and_the_layer_behind_them_get_gradients_and_change(tiny_bert, trained):
    import torch

    reranker, pools, _, _ = trained
    fresh = Reranker.new(tiny_bert)
    scores = fresh.interact(pools[0].question, pools[0].texts[:8])
    relevance = torch.tensor(pools[0].relevance[:8])
    ranking_loss(scores, relevance, bm25_temperature=1.0, score_temperature=1.0).backward()
    for name in ("query", "passage", "compressor"):
        part = getattr(fresh, name)
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters()), name
        pairs = zip(part.parameters(), getattr(reranker, name).parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), name


def test_the_loss_is_kullback_leibler():
    import torch

    scores, relevance = torch.tensor([0.2, 1.4, -0.3]), torch.tensor([9.0, 2.0, 4.0])
    target, said = softmax(np.array([9.0, 2.0, 4.0]) / 5.0), softmax(np.array([0.2, 1.4, -0.3]) / 0.5)
    loss = ranking_loss(scores, relevance, bm25_temperature=5.0, score_temperature=0.5)
    assert float(loss) == pytest.approx(float(np.sum(target * np.log(target / said))), rel=1e-5)
    alike = ranking_loss(relevance / 10, relevance, bm25_temperature=5.0, score_temperature=0.5)
    assert float(alike) == pytest.approx(0.0, abs=1e-6)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def test_a_score_is_the_mean_over_the_questions_tokens_of_the_best_match(tiny_bert):
    import torch

    reranker = Reranker.new(tiny_bert)
    question, passages = "reset my password", ["my password today", "the parcel came broken and wet and late"]

    def vectors(text: str) -> np.ndarray:
        batch = reranker.tokenizer([text], return_tensors="pt")
        with torch.inference_mode():
            states = reranker.query.eval()(**batch).last_hidden_state[0].numpy()
        return states / np.linalg.norm(states, axis=1, keepdims=True)

    expected = [(vectors(question) @ vectors(passage).T).max(axis=1).mean() for passage in passages]
    assert reranker.scores(question, passages) == pytest.approx(expected, abs=1e-5)
    assert reranker.scores(question, []).shape == (0,)
    assert max(reranker.scores(question, [question])) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("progress", [-1.0, 0.0, 0.3, 1.0, 1.7, 400.0])
@pytest.mark.parametrize("name", ["bm25_temperature", "score_temperature"])
def test_temperatures_stay_positive_and_between_their_ends(name, progress):
    first, last = getattr(RerankerOptions(), name)
    assert 0 < last <= temperature((first, last), progress) <= first
    assert temperature((first, last), 0.0) == first
    assert temperature((first, last), 1.0) == last


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bm25_temperature": (1.0, -3.0)}, r"`bm25_temperature` is \(1\.0, -3\.0\); expected two numbers above 0"),
        ({"score_temperature": (0.0, 1.0)}, "`score_temperature`"),
        ({"drawn": 0}, "`drawn` is 0; expected 1 or more"),
        ({"most_shown": 0}, "`most_shown` is 0"),
    ],
)
def test_options_that_nothing_can_be_trained_with_are_refused(change, message, pool):
    with pytest.raises(StudentError, match=message):
        train_reranker([pool], options=RerankerOptions(**change))


def test_without_pools_it_says_what_is_missing():
    with pytest.raises(StudentError, match="nothing to train a reranker on"):
        train_reranker([])


def test_it_is_measured_by_what_it_puts_first(trained, facts):
    reranker, _, _, _ = trained
    asked = [Asked("amber harbour", "lantern keeper note 3"), Asked("quartz", "harbour"), Asked("nothing", "keeper")]
    told = measure_reranker(reranker, facts, asked)
    assert told["questions"] == 2, "where nothing is found, nothing is chosen"
    firsts, chosen, best = [], [], []
    for one in asked[:2]:
        keys, scores = facts.words().search_scored(one.question, 32, scored_by=one.rationale)
        texts = [passage_text(row) for row in facts.rows(keys)]
        firsts.append(scores[0])
        chosen.append(scores[int(np.argmax(reranker.scores(one.question, texts)))])
        best.append(max(scores))
    assert told["bm25"] == pytest.approx(np.mean(firsts))
    assert told["reranker"] == pytest.approx(np.mean(chosen))
    assert told["best"] == pytest.approx(np.mean(best))


def test_the_same_pools_and_seed_give_the_same_reranker(tiny_bert, trained):
    _, pools, _, _ = trained
    options = RerankerOptions(most_shown=16)
    one, two, other = (train_reranker(pools, base_model=tiny_bert, seed=s, options=options) for s in (3, 3, 4))
    texts = pools[0].texts
    assert np.array_equal(one.scores("amber note", texts), two.scores("amber note", texts))
    assert not np.array_equal(one.scores("amber note", texts), other.scores("amber note", texts))
    assert one.facts["shown"] == 16


def test_a_saved_reranker_scores_the_same_and_holds_no_pickle(trained, tmp_path, tiny_bert):
    reranker, pools, _, _ = trained
    folder = reranker.save(tmp_path / "reranker")
    loaded = Reranker.load(folder)
    assert np.array_equal(
        loaded.scores(pools[0].question, pools[0].texts), reranker.scores(pools[0].question, pools[0].texts)
    )
    assert loaded.facts["pools"] == 20
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".txt"}
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in files)
    assert not any(tiny_bert.encode() in file.read_bytes() for file in files)


def test_a_damaged_reranker_is_named(trained, tmp_path):
    folder = trained[0].save(tmp_path / "reranker")
    (folder / "compressor.safetensors").write_bytes(b"no")
    with pytest.raises(StudentError, match=r"compressor\.safetensors can't be read"):
        Reranker.load(folder)
    (folder / "reranker.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(StudentError, match="is of format `9`; this version reads 1"):
        Reranker.load(folder)
    with pytest.raises(StudentError, match="holds no reranker"):
        Reranker.load(tmp_path)
