import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rebase_hf.errors import RowIndexError
from rebase_hf.index.encoders import encoder_identity, load_encoder
from rebase_hf.index.onnx_encoder import Session
from rebase_hf.index.onnx_export import PARITY_TEXTS, read_settings
from rebase_hf.index.onnx_graph import sentence_graph
from rebase_hf.index.row_index import RowIndex
from tests.doubles.tiny_models import TEXTS, make_bert, make_sentence_encoder

SAMPLE = [text for texts in TEXTS.values() for text in texts] + ["", "no", "my parcel " * 80, "no"]

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_sentence_encoder(tmp_path_factory.mktemp("onnx"))


@pytest.fixture
def encoder(model, home):
    return load_encoder(f"onnx-int8:{model}")


def graph_files(home):
    return sorted(path.name for path in (home / "encoders").glob("*/*"))


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def copied(model, tmp_path):
    return Path(shutil.copytree(model, tmp_path / "copy"))


def test_int8_vectors_are_close_to_those_of_the_model_in_float32(encoder, model):
    vectors, exact = encoder.encode(SAMPLE), load_encoder(model).encode(SAMPLE)
    assert encoder.dimension == 32
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * exact).sum(axis=1).min() > 0.98
    assert not np.array_equal(vectors, exact)


def test_the_float32_graph_gives_the_models_vectors_on_a_padded_batch(encoder, model):
    folder = Path(encoder.folder)
    shape, about = read_settings(folder)
    graph = sentence_graph(load_file(folder / "model.safetensors"), shape, int8=False)
    padded = Session(folder, about).run_padded(graph, PARITY_TEXTS)
    np.testing.assert_allclose(padded, load_encoder(model).encode(PARITY_TEXTS), atol=1e-5)


def test_a_text_has_the_same_bits_whatever_stands_with_it(encoder):
    together = encoder.encode(SAMPLE)
    for alone, text in zip(together, SAMPLE, strict=True):
        assert np.array_equal(encoder.encode([text])[0], alone)
    assert np.array_equal(encoder.encode(SAMPLE[::-1])[::-1], together)


def test_the_runtime_is_part_of_the_identity(encoder, model):
    assert encoder_identity(encoder) != encoder_identity(load_encoder(model))
    assert encoder.name == f"onnx-int8:{model}"


def test_the_graph_is_written_once_and_again_when_it_is_damaged(encoder, model, home):
    before = encoder.encode(SAMPLE)
    assert graph_files(home) == ["encoder.json", "model.onnx", "sha256.json", "tokenizer.json"]
    (graph,) = (home / "encoders").glob("*/model.onnx")
    written = graph.stat().st_mtime_ns
    assert np.array_equal(load_encoder(f"onnx-int8:{model}").encode(SAMPLE), before)
    assert graph.stat().st_mtime_ns == written
    content = graph.read_bytes()
    graph.write_bytes(content[:-100] + bytes(100))
    assert np.array_equal(load_encoder(f"onnx-int8:{model}").encode(SAMPLE), before)
    assert graph.read_bytes() == content


def test_a_written_encoder_runs_without_torch(encoder, model):
    encoder.encode(["now it is written"])
    code = (
        "import sys; from rebase_hf.index.encoders import load_encoder\n"
        f"assert load_encoder({encoder.name!r}).encode(['where is my parcel']).shape == (1, 32)\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_index_can_be_built_with_it(encoder, sources, tmp_path):
    index = RowIndex.build(tmp_path / "index", sources, encoder=encoder.name)
    opened = RowIndex.open(index.path)
    assert opened.search("parcel", k=1)
    assert opened.info()["encoder"]["name"] == encoder.name


@pytest.mark.parametrize(
    ("file", "changes", "reason"),
    [
        ("config.json", {"model_type": "gpt2"}, "it is a `gpt2`"),
        ("config.json", {"hidden_act": "relu"}, "with `relu`"),
        ("config.json", {"position_embedding_type": "relative_key"}, "relative_key positions"),
        ("config.json", {"num_hidden_layers": 3}, "it has no weight 'encoder.layer.2"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "it pools by max"),
        ("1_Pooling/config.json", {"include_prompt": False}, "it pools by"),
    ],
)
def test_a_model_that_can_not_be_written_exactly_is_refused(model, home, tmp_path, file, changes, reason):
    folder = copied(model, tmp_path)
    edit_json(folder / file, **changes)
    with pytest.raises(RowIndexError, match=reason):
        load_encoder(f"onnx-int8:{folder}").encode(["text"])


def test_a_model_with_a_dense_module_is_refused(model, home, tmp_path):
    folder = copied(model, tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(RowIndexError, match="its modules are Transformer, Pooling, Dense"):
        load_encoder(f"onnx-int8:{folder}").encode(["text"])


def test_a_graph_whose_vectors_are_not_the_models_is_refused_and_not_kept(model, home, tmp_path):
    folder = copied(model, tmp_path)
    # The same weight under two names: PyTorch takes the one, the graph the other.
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "bert.embeddings.LayerNorm.bias": weights["embeddings.LayerNorm.bias"] + 1},
        folder / "model.safetensors",
    )
    with pytest.raises(RowIndexError, match="differ from PyTorch's"):
        load_encoder(f"onnx-int8:{folder}").encode(["text"])
    assert not list((home / "encoders").glob("*/sha256.json"))


def test_a_roberta_takes_its_positions_from_the_third_on(home, tmp_path):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    folder = make_bert(tmp_path / "bert")
    config = RobertaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=98,
        type_vocab_size=1,
        pad_token_id=0,
    )
    RobertaModel(config).save_pretrained(folder)
    model = str(tmp_path / "roberta")
    SentenceTransformer(folder, device="cpu").save(model, create_model_card=False)
    exact = load_encoder(model).encode(SAMPLE)
    assert (load_encoder(f"onnx-int8:{model}").encode(SAMPLE) * exact).sum(axis=1).min() > 0.97
