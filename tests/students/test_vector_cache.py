import numpy as np

from rebase_hf.students.vector_cache import encode_once


class Counting:
    """An encoder that tells how often it was asked about each text."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return np.array([[len(text), 1, 2] for text in texts], dtype=np.float32).reshape(-1, 3)


def test_each_text_is_encoded_once_over_calls_and_within_one(tmp_path):
    encode, file = Counting(), tmp_path / "v" / "a.sqlite"
    assert encode_once(file, ["a", "bb", "a"], encode, 3).tolist() == [[1, 1, 2], [2, 1, 2], [1, 1, 2]]
    assert encode_once(file, ["ccc", "a"], encode, 3).tolist() == [[3, 1, 2], [1, 1, 2]]
    assert encode.asked == ["a", "bb", "ccc"]


def test_more_texts_than_one_query_takes(tmp_path):
    encode, file = Counting(), tmp_path / "a.sqlite"
    texts = [f"text {n}" for n in range(2000)]
    encode_once(file, texts[:1500], encode, 3)
    assert encode_once(file, texts, encode, 3).shape == (2000, 3)
    assert encode.asked == texts


def test_no_texts_no_vectors(tmp_path):
    assert encode_once(tmp_path / "a.sqlite", [], Counting(), 3).shape == (0, 3)


def test_a_lone_surrogate_has_a_vector_too(tmp_path):
    assert encode_once(tmp_path / "a.sqlite", ["\ud800"], Counting(), 3).tolist() == [[1, 1, 2]]


def test_a_file_that_is_no_database_costs_time_only(tmp_path, caplog):
    (tmp_path / "a.sqlite").write_bytes(b"not a database, and longer than its header is" * 40)
    encode = Counting()
    assert encode_once(tmp_path / "a.sqlite", ["a"], encode, 3).tolist() == [[1, 1, 2]]
    assert "can't be kept in" in caplog.text


def test_vectors_of_another_width_are_not_taken_for_these(tmp_path):
    encode, file = Counting(), tmp_path / "a.sqlite"
    encode_once(file, ["a"], encode, 3)
    assert encode_once(file, ["a"], lambda texts: np.ones((len(texts), 2), np.float32), 2).tolist() == [[1, 1]]
