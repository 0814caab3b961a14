"""Writing a sentence-transformers folder as an int8 ONNX graph, and checking it against PyTorch before it is used."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError, require
from rebase_hf.index.durable import sync_folder, write_bytes
from rebase_hf.index.onnx_graph import Shape, Tensor, sentence_graph

GRAPH, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "encoder.json"
# Raised whenever the graph changes: an encoder's identity has it, and what is cached for another one is not used.
EXPORT_VERSION = 1
# Longest, shortest and empty texts, other scripts: the batch that holds them all is padded.
PARITY_TEXTS = (
    "A customer asks where the parcel is.",
    "",
    "no",
    "Der Zug fährt um acht Uhr; ¿llega a tiempo? 世界",
    "The courier left it in the rain, and nobody answers the telephone. " * 60,
    "def f(x):\n    return 2 * x + 1",
    "I was charged twice in May and would like the second payment back on my card, please. " * 4,
)
LARGEST_DIFFERENCE = 2e-5
LOWEST_COSINE = 0.97
FIRST_POSITION = {"bert": 0, "roberta": None, "xlm-roberta": None, "camembert": None}


def export_encoder(source: Path, target: Path) -> None:
    """Write an encoder's graph, tokenizer and settings to a folder that is whole or not there.

    Raises:
        RowIndexError: The model is not of a kind that can be written so, or its graph's vectors are not PyTorch's.
        MissingExtraError: onnx, or sentence-transformers for the comparison, is not installed.
    """
    require("onnx", what="Writing an int8 encoder", extra="onnx")
    require("sentence_transformers", what="Checking an int8 encoder against PyTorch", extra="encoders")
    shape, about = read_settings(source)
    weights = _weights(source)
    try:
        exact, small = (sentence_graph(weights, shape, int8=int8) for int8 in (False, True))
    except KeyError as error:
        raise _refused(source, f"it has no weight {error}") from error
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copyfile(source / TOKENIZER, part / TOKENIZER)
    write_bytes(part / GRAPH, small)
    write_bytes(part / ABOUT, json.dumps(about).encode())
    _check(source, part, exact, small, about)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    sync_folder(target.parent)


def read_settings(source: Path) -> tuple[Shape, dict[str, Any]]:
    """Return a model's shape, and what its texts go through: prompt, lower case, greatest length.

    Raises:
        RowIndexError: It has parts that the graph would leave out.
    """
    config = _read(source / "config.json")
    kind, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    positions = config.get("position_embedding_type", "absolute")
    if kind not in FIRST_POSITION or (activation, positions) != ("gelu", "absolute"):
        raise _refused(
            source,
            f"it is a `{kind}` with `{activation}` and {positions} positions; expected one of "
            f"{', '.join(FIRST_POSITION)}, with `gelu` and absolute positions",
        )
    first = FIRST_POSITION[kind]
    first = int(config.get("pad_token_id", 1)) + 1 if first is None else first
    shape = Shape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["hidden_size"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        first_position=first,
        pooling=_pooling(source),
    )
    if not (source / TOKENIZER).is_file():
        raise _refused(source, f"it has no {TOKENIZER}")
    settings, prompts = (
        _read(source / "sentence_bert_config.json"),
        _read(source / "config_sentence_transformers.json"),
    )
    longest = config["max_position_embeddings"] - first
    said = settings.get("max_seq_length") or _read(source / "tokenizer_config.json").get("model_max_length") or longest
    name = prompts.get("default_prompt_name")
    about = {
        "dimension": shape.hidden,
        "max_length": min(int(said), longest),
        "lower": bool(settings.get("do_lower_case")),
        "prompt": (prompts.get("prompts") or {}).get(name, "") if name else "",
    }
    return shape, about


def _pooling(source: Path) -> str:
    modules = json.loads((source / "modules.json").read_text()) if (source / "modules.json").is_file() else []
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise _refused(
            source, f"its modules are {', '.join(kinds) or 'not named'}; expected Transformer, Pooling, Normalize"
        )
    settings = _read(source / modules[1]["path"] / "config.json")
    modes = [
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    ]
    modes = [settings["pooling_mode"]] if isinstance(settings.get("pooling_mode"), str) else modes
    known = {"mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls"}
    if len(modes) != 1 or modes[0] not in known or modules[0]["path"] or settings.get("include_prompt") is False:
        raise _refused(source, f"it pools by {', '.join(modes) or 'nothing'}; expected mean or cls, of all tokens")
    return known[modes[0]]


def _weights(source: Path) -> dict[str, Tensor]:
    from safetensors.numpy import load_file

    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise _refused(source, "it has no weights in safetensors")
    tensors = {name: array for file in files for name, array in load_file(file).items()}
    found = {}
    for name, array in tensors.items():
        short = name.split(".", 1)[1] if name.startswith(("bert.", "roberta.")) else name
        found[short] = array.astype(np.float32)
    return found


def _check(source: Path, part: Path, exact: bytes, small: bytes, about: dict[str, Any]) -> None:
    """Raise where the float32 graph differs from PyTorch on a padded batch, or int8 from float32 by too much."""
    from rebase_hf.index.encoders import SentenceTransformerEncoder
    from rebase_hf.index.onnx_encoder import Session

    expected = SentenceTransformerEncoder(str(source)).encode(PARITY_TEXTS)
    session = Session(part, about)
    padded = session.run_padded(exact, PARITY_TEXTS)
    difference = float(np.abs(padded - expected).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise _refused(source, f"its graph's vectors differ from PyTorch's by {difference:.2g} on padded texts")
    cosine = float((session.run_padded(small, PARITY_TEXTS) * expected).sum(axis=1).min())
    if not cosine >= LOWEST_COSINE:
        raise _refused(source, f"int8 changes its vectors too much here: cosine {cosine:.3f} to float32")


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _refused(source: Path, reason: str) -> RowIndexError:
    return RowIndexError(f"Encoder {source} can't be run as int8: {reason}. Use it without `onnx-int8:`.")
