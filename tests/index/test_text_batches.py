import numpy as np

from rebase_hf.index.text_batches import encode_distinct, length_batches, run_batches


def test_each_distinct_text_is_encoded_once_and_comes_back_in_order():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)

    vectors = encode_distinct(["bb", "a", "bb", "ccc", "a"], encode, 2)
    assert asked == ["bb", "a", "ccc"]
    assert vectors[:, 0].tolist() == [2, 1, 2, 3, 1]


def test_more_texts_than_one_chunk_come_back_in_order():
    texts = [str(number) for number in range(20_000)]
    vectors = encode_distinct(texts[::-1], lambda some: np.array([[int(t)] for t in some], np.float32), 1)
    assert vectors[:, 0].tolist() == list(range(20_000))[::-1]


def test_no_texts_make_no_vectors():
    assert encode_distinct([], lambda texts: np.ones((len(texts), 3), np.float32), 3).shape == (0, 3)


def test_a_batch_holds_one_length_and_at_most_its_budget():
    lengths = [3, 70, 3, 200, 5, 3] + [10] * 30
    batches = length_batches(lengths, budget=100)
    assert {int(place) for batch in batches for place in batch} == set(range(len(lengths)))
    for batch in batches:
        assert len({lengths[place] for place in batch}) == 1
        assert lengths[batch[0]] * len(batch) <= 100 or len(batch) == 1
    assert [lengths[batch[0]] for batch in batches] == sorted((lengths[b[0]] for b in batches), reverse=True)


def test_a_batch_of_few_tokens_repeats_its_texts():
    assert [batch.tolist() for batch in length_batches([5])] == [[0, 0, 0, 0]]
    assert [batch.tolist() for batch in length_batches([16])] == [[0]]


def test_batches_side_by_side_write_where_they_belong():
    lengths = np.tile(np.arange(1, 60), 5)
    batches = length_batches(lengths, budget=60)
    for workers in (1, 4):
        out = np.zeros((len(lengths), 1), np.float32)
        run_batches(batches, lambda batch: lengths[batch][:, None].astype(np.float32), out, workers)
        assert out[:, 0].tolist() == lengths.tolist()
