"""Vectors as int8 codes: scaled to use the whole range, rounded, cut off."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_CLIP_SAMPLE = 20_000
# Component sizes beyond this share of all are cut off: for MiniLM's 384 dimensions that is about .22, a scale of 577.
_CLIP_QUANTILE = 0.9999


def choose_scale(vectors: Array, seed: int = 0) -> float:
    """Return what to multiply components by so that nearly all fit an int8."""
    if not len(vectors):
        return 127.0
    count = min(len(vectors), _CLIP_SAMPLE)
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), count, replace=False))
    clip = float(np.quantile(np.abs(np.asarray(vectors[rows], dtype=np.float32)), _CLIP_QUANTILE))
    return round(127.0 / max(clip, 1e-3), 4)


def quantise(vectors: Array, scale: float) -> Array:
    """Return int8 vectors: scaled, rounded, cut off at +-127."""
    scaled = np.multiply(vectors, np.float32(scale), dtype=np.float32)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -127, 127, out=scaled)
    return scaled.astype(np.int8)
