import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from rebase_hf.errors import RowIndexError
from rebase_hf.index.encoders import (
    Encoder,
    covers_language,
    encoder_identity,
    language_warning,
    load_encoder,
)
from rebase_hf.index.row_index import RowIndex
from tests.doubles.tiny_models import TEXTS, make_sentence_encoder
from tests.index.hashing_encoder import HashingEncoder

WORDS = ["[UNK]", "red", "green", "apple"]


@pytest.fixture
def static_folder(tmp_path):
    """A model as model2vec writes one."""
    folder = tmp_path / "static"
    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.array([[9, 9, 9], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    (folder / "README.md").write_text("---\nlanguage: en\n---\nWords.\n")
    return folder


def test_an_object_with_name_dimension_and_encode_is_an_encoder():
    encoder = HashingEncoder()
    assert load_encoder(encoder) is encoder
    assert isinstance(encoder, Encoder)


def test_what_is_no_encoder_is_refused():
    with pytest.raises(RowIndexError, match="has no `name`, `dimension`, `encode`"):
        load_encoder(7)


def test_an_identity_is_of_the_vectors_and_not_of_the_name():
    assert encoder_identity(HashingEncoder()) == encoder_identity(HashingEncoder(name="other"))
    assert encoder_identity(HashingEncoder()) != encoder_identity(HashingEncoder(32))

    class Named(HashingEncoder):
        identity = "abc123"

    assert encoder_identity(Named()) == "abc123"


def test_a_static_model_is_the_mean_of_its_tokens(static_folder):
    encoder = load_encoder(f"static:{static_folder}")
    assert (encoder.name, encoder.dimension) == (f"static:{static_folder}", 3)
    vectors = encoder.encode(["red apple", "green pear", "pear", ""])
    half = 0.5**0.5
    np.testing.assert_allclose(vectors[0], [half, 0, half], atol=1e-6)
    np.testing.assert_allclose(vectors[1], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(vectors[2], vectors[3])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_static_models_identity_follows_its_weights_and_not_its_place(static_folder, tmp_path):
    before = encoder_identity(load_encoder(f"static:{static_folder}"))
    moved = static_folder.rename(tmp_path / "moved")
    assert encoder_identity(load_encoder(f"static:{moved}")) == before
    other = tmp_path / "other"
    moved.rename(other)
    save_file({"embeddings": np.eye(4, 3, dtype=np.float32)}, other / "model.safetensors")
    assert encoder_identity(load_encoder(f"static:{other}")) != before


def test_an_index_can_be_built_with_a_static_model(static_folder, sources, tmp_path):
    index = RowIndex.build(tmp_path / "index", sources, encoder=f"static:{static_folder}")
    assert RowIndex.open(index.path).search("red", k=1)


def test_a_folder_that_is_no_static_model_says_so(tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(RowIndexError, match="is no static model"):
        load_encoder(f"static:{tmp_path}")


def test_a_language_that_is_not_covered_gets_a_warning_with_a_model_that_covers_it(static_folder):
    encoder = load_encoder(f"static:{static_folder}")
    assert covers_language(encoder, "en")
    assert covers_language(encoder, "en-GB")
    assert not covers_language(encoder, "de")
    assert language_warning(encoder, "en") is None
    assert "`de`" in language_warning(encoder, "de")
    assert "multilingual" in language_warning(encoder, "de")
    assert covers_language(HashingEncoder(), "de")  # it does not say what it knows


@pytest.mark.slow
def test_the_default_encoder_finds_what_means_the_same(sources, tmp_path):
    index = RowIndex.build(tmp_path / "index", sources)
    assert index.info()["encoder"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert index.info()["encoder"]["dimension"] == 384
    assert index.search("money was taken from my account two times", k=1)[0].source.cells["id"] == "c-002"
    again = RowIndex.build(tmp_path / "again", sources)
    assert again.fingerprint == index.fingerprint
    assert not covers_language(index.encoder, "de")
    with pytest.raises(RowIndexError, match=r"all-MiniLM-L6-v2` \(384 dimensions.*`hashing` \(48"):
        RowIndex.open(index.path, encoder=HashingEncoder())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_sentence_encoder(tmp_path_factory.mktemp("models"))


MIXED = [text for texts in TEXTS.values() for text in texts] + ["", "no", "my parcel has not arrived " * 30, "no"]


def own_encode(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu").encode(MIXED, normalize_embeddings=True)


def saved(folder, *modules, **options):
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(modules=list(modules), device="cpu", **options).save(str(folder), create_model_card=False)
    return str(folder)


def test_vectors_are_those_of_the_models_own_encode(model):
    vectors = load_encoder(model).encode(MIXED)
    np.testing.assert_allclose(vectors, own_encode(model), atol=1e-6)
    assert vectors.dtype == np.float32


def test_a_text_has_the_same_bits_whatever_stands_with_it(model):
    encoder = load_encoder(model)
    together = encoder.encode(MIXED)
    for alone, text in zip(together, MIXED, strict=True):
        assert np.array_equal(encoder.encode([text])[0], alone)
    assert np.array_equal(encoder.encode(MIXED[::-1])[::-1], together)
    assert np.array_equal(encoder.encode(MIXED * 3), np.concatenate([together] * 3))


def test_the_number_of_threads_changes_no_bit_and_is_left_as_it_was(model):
    import torch

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = load_encoder(model).encode(MIXED)
        torch.set_num_threads(3)
        assert np.array_equal(load_encoder(model).encode(MIXED), one)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_models_default_prompt_and_dense_layer_count(model, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense

    first, pooling, *_ = SentenceTransformer(model, device="cpu")
    folder = saved(
        tmp_path / "dense", first, pooling, Dense(32, 8), prompts={"query": "find: "}, default_prompt_name="query"
    )
    encoder = load_encoder(folder)
    assert encoder.dimension == 8
    np.testing.assert_allclose(encoder.encode(MIXED), own_encode(folder), atol=1e-6)
    assert not np.allclose(encoder.encode(["parcel"]), encoder.encode(["find: parcel"]))


def test_a_model_of_another_kind_is_left_to_its_own_encode(tmp_path):
    from sentence_transformers.models import BoW

    folder = saved(tmp_path / "words", BoW(vocab=["parcel", "order", "my", "no"]))
    vectors = load_encoder(folder).encode(["my parcel", "no", "my parcel"])
    np.testing.assert_allclose(
        vectors, [[0.5**0.5, 0, 0.5**0.5, 0], [0, 0, 0, 1], [0.5**0.5, 0, 0.5**0.5, 0]], atol=1e-6
    )
