"""A sentence-transformers model run on batches of ours: its own tokenizer, its own modules, its own pooling."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from rebase_hf.index.text_batches import Positions, Vectors, length_batches, run_batches

# Modules that treat every text by itself and take what the module before them gives.
KNOWN_MODULES = frozenset(
    {"Pooling", "Normalize", "Dense", "LayerNorm", "Dropout", "WeightedLayerPooling", "WordWeights"}
)
GPU_BATCH = 256
# Torch's number of threads is the process's: one call at a time may change it.
_THREADS = threading.Lock()


def encode_with(model: Any, texts: list[str], dimension: int) -> Vectors:
    """Return unit vectors; by the model's own `encode` where it is not made of modules that are known here."""
    import torch

    features = _features(model, texts) if _is_known(model) else None
    if features is None:
        size = GPU_BATCH if model.device.type == "cuda" else 32
        vectors = model.encode(
            texts, batch_size=size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)
    model.eval()
    lengths = padded_lengths(features["attention_mask"].sum(1).numpy(), model.max_seq_length)
    features = _widened(features, int(lengths.max()), model.tokenizer.pad_token_id or 0)

    def forward(batch: Positions) -> Vectors:
        length, rows = int(lengths[batch[0]]), torch.from_numpy(batch)
        with torch.inference_mode():
            given = {
                name: value[rows, :length] if isinstance(value, torch.Tensor) else value
                for name, value in features.items()
            }
            found = model(given)["sentence_embedding"].float()
            normalised: Vectors = torch.nn.functional.normalize(found, p=2, dim=1).numpy()
        return normalised

    out = np.empty((len(texts), dimension), np.float32)
    with _one_thread_each() as workers:
        run_batches(length_batches(lengths), forward, out, workers)
    return out


def padded_lengths(lengths: Positions, longest: int | None) -> Positions:
    """Return the lengths to which texts are padded: each decided by its own, so that it is the same in any company.

    A call of the model takes some 10 ms whatever it holds: 500 texts make 81 batches of one length, and 32 of these
    with 4 % more tokens.
    """
    if longest is None:
        return lengths
    step = np.select([lengths <= 16, lengths <= 32, lengths <= 64], [2, 4, 8], 16)
    padded: Positions = np.maximum(lengths, np.minimum(-(-lengths // step) * step, longest))
    return padded


def _widened(features: Mapping[str, Any], width: int, pad: int) -> dict[str, Any]:
    import torch

    def widen(name: str, value: torch.Tensor) -> torch.Tensor:
        missing = max(0, width - value.shape[1])
        return torch.nn.functional.pad(value, (0, missing), value=pad if name == "input_ids" else 0)

    return {n: widen(n, value) if isinstance(value, torch.Tensor) else value for n, value in features.items()}


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Set torch to one thread, so that sums are made in one order, and yield how many batches to run side by side."""
    import torch

    with _THREADS:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)


def _is_known(model: Any) -> bool:
    """Return whether a model's texts can be tokenised first and batched by us afterwards, on this device."""
    import sentence_transformers

    first, *others = [type(module) for module in model]
    return (
        type(model) is sentence_transformers.SentenceTransformer
        and model.device.type == "cpu"
        and model.truncate_dim is None
        and (first.__name__, _library(first)) == ("Transformer", "sentence_transformers")
        and all(kind.__name__ in KNOWN_MODULES and _library(kind) == "sentence_transformers" for kind in others)
    )


def _library(kind: type) -> str:
    return kind.__module__.split(".")[0]


def _features(model: Any, texts: list[str]) -> Mapping[str, Any] | None:
    """Return what the model's own preprocessing makes of the texts, padded on the right; None for anything else."""
    import torch

    prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    if hasattr(model, "preprocess"):
        features = model.preprocess(texts, prompt=prompt)
    elif prompt:  # sentence-transformers 5 adds it inside `encode`
        return None
    else:
        features = model.tokenize(texts)
    mask = features.get("attention_mask")
    tensors = [value for value in features.values() if isinstance(value, torch.Tensor)]
    if mask is None or any(value.shape != (len(texts), mask.shape[1]) for value in tensors):
        return None
    right = bool((mask[:, 1:] <= mask[:, :-1]).all() and mask[:, 0].all())
    return dict(features) if right else None
