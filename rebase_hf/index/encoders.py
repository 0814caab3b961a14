"""Text to vectors: a one-method protocol, its two implementations, and what an encoder is, byte for byte."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model, model_fingerprint
from rebase_hf.errors import RowIndexError, require

MULTILINGUAL_MODEL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
STATIC_PREFIX = "static:"
# What is fetched of a model: no weights in other runtimes' formats, and nothing that would have to be unpickled.
MODEL_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "README.md"]
PROBES = ("A customer asks where the parcel is.", "Der Zug fährt um acht Uhr.", "f(x) = 2x + 1", "no")

Vectors = np.ndarray[Any, np.dtype[np.float32]]


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors. Objects of a user's own may also carry `identity` (hex) and `languages`."""

    @property
    def name(self) -> str:
        """What an index's manifest calls it; for a model, what loads it again."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of unit length, float32 of shape (number of texts, dimension)."""
        ...


class SentenceTransformerEncoder:
    """A sentence-transformers model; loaded when it is first used, on the GPU where there is one."""

    def __init__(self, spec: str | None = None) -> None:
        require("sentence_transformers", what="A sentence-transformers encoder", extra="encoders")
        self.name = spec or DEFAULT_MODEL
        self.folder = _model_folder(self.name)

    @property
    def identity(self) -> str:
        """Digest of weights, tokenizer, pooling and runtime."""
        return _digest(["sentence-transformers", model_fingerprint(self.folder)])

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """The languages that the model's card names; None when it names none."""
        return _card_languages(self.folder)

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        # Named so from sentence-transformers 5.x on; the old name warns.
        measure = getattr(self._model, "get_embedding_dimension", None)
        return int((measure or self._model.get_sentence_embedding_dimension)())

    @cached_property
    def _model(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer

        from rebase_hf.training_run import quiet_loading

        device = "cuda" if torch.cuda.is_available() else "cpu"
        with quiet_loading():
            # Weights are read from safetensors only: a .bin is a pickle.
            return SentenceTransformer(
                self.folder, device=device, local_files_only=True, model_kwargs={"use_safetensors": True}
            )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors; texts beyond the model's length are cut by its tokenizer."""
        vectors = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)


class StaticEncoder:
    """A model2vec model: the mean of its tokens' vectors. 60 to 100 times as fast as MiniLM, clearly less exact."""

    def __init__(self, spec: str) -> None:
        require("tokenizers", what="A static encoder", extra="encoders")
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self.name = spec if spec.startswith(STATIC_PREFIX) else STATIC_PREFIX + spec
        self.folder = _model_folder(self.name.removeprefix(STATIC_PREFIX))
        root = _static_root(Path(self.folder))
        tensors = load_file(root / "model.safetensors")
        table = tensors.get("embeddings", tensors.get("embedding.weight"))
        if table is None or not (root / "tokenizer.json").is_file():
            raise RowIndexError(
                f"{self.folder} is no static model: expected `embeddings` in model.safetensors and a tokenizer.json, "
                "as model2vec writes them."
            )
        self._table = table.astype(np.float32)
        self._weights = tensors.get("weights")
        self._mapping = tensors.get("mapping")
        self._tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(512)
        self._unknown = {self._tokenizer.token_to_id(token) for token in ("[UNK]", "<unk>")} - {None}
        self.dimension = int(self._table.shape[1])

    @property
    def identity(self) -> str:
        """Digest of weights, tokenizer and runtime."""
        return _digest(["static", model_fingerprint(self.folder)])

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """The languages that the model's card names; None when it names none."""
        return _card_languages(self.folder)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors; a text without a known token gets the same even vector as any other such text."""
        vectors = np.full((len(texts), self.dimension), self.dimension**-0.5, dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            ids = np.array([token for token in encoding.ids if token not in self._unknown], dtype=np.int64)
            rows = ids if self._mapping is None else self._mapping[ids]
            weights = np.ones(len(ids)) if self._weights is None else self._weights[ids]
            mean = (self._table[rows] * weights[:, None]).sum(axis=0)
            length = float(np.linalg.norm(mean))
            if length > 0:
                vectors[row] = mean / length
        return vectors


def load_encoder(spec: str | Encoder | None = None) -> Encoder:
    """Return an encoder.

    Args:
        spec: An object with `name`, `dimension` and `encode`; a sentence-transformers model id or folder;
            `static:` and a model2vec id or folder; None for all-MiniLM-L6-v2.

    Raises:
        RowIndexError: There is no such model here or on the Hub, or the object is no encoder.
        MissingExtraError: The package that runs it is not installed.
    """
    if spec is None or isinstance(spec, str):
        if spec is not None and spec.startswith(STATIC_PREFIX):
            return StaticEncoder(spec)
        return SentenceTransformerEncoder(spec)
    missing = [name for name in ("name", "dimension", "encode") if not hasattr(spec, name)]
    if missing:
        raise RowIndexError(
            f"Encoder {spec!r} has no `{'`, `'.join(missing)}`; expected an object with `name`, `dimension` and "
            "`encode(texts)`, a model id, or a folder."
        )
    return spec


def encoder_identity(encoder: Encoder) -> str:
    """Return a digest of what an encoder is, whatever it is called (hex).

    Its own `identity` where it has one; else a digest of its class and of its vectors of a few fixed texts.
    """
    identity = getattr(encoder, "identity", None)
    if isinstance(identity, str) and identity:
        return identity
    probes = np.round(np.asarray(encoder.encode(list(PROBES)), dtype=np.float64), 3) + 0.0
    kind = type(encoder)
    return _digest([kind.__module__, kind.__qualname__, encoder.dimension, probes.tolist()])


def encode_texts(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Return the encoder's vectors, checked: shape, finite, unit length.

    Raises:
        RowIndexError: They are not what the protocol promises.
    """
    vectors = np.asarray(encoder.encode(texts), dtype=np.float32)
    if vectors.shape != (len(texts), encoder.dimension):
        raise RowIndexError(
            f"Encoder `{encoder.name}` gave vectors of shape {vectors.shape} for {len(texts)} texts; "
            f"expected {(len(texts), encoder.dimension)}."
        )
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < 1e-2))
    if len(wrong):
        raise RowIndexError(
            f"Encoder `{encoder.name}` gave a vector of length {lengths[wrong[0]]:.3g} for "
            f"`{texts[wrong[0]][:60]}`; expected unit length. Normalise its vectors."
        )
    return cast(Vectors, vectors)


def covers_language(encoder: Encoder, language: str) -> bool:
    """Return whether an encoder knows a language; True where neither it nor its model card says."""
    languages = getattr(encoder, "languages", None)
    if not languages:
        return True
    known = {str(name).lower().split("-")[0] for name in languages}
    return "multilingual" in known or "mul" in known or language.lower().split("-")[0] in known


def language_warning(encoder: Encoder, language: str) -> str | None:
    """Return the warning for a language that an encoder does not cover, naming a model that does; else None."""
    if covers_language(encoder, language):
        return None
    return (
        f"Encoder `{encoder.name}` does not cover language `{language}`, so retrieval will be poor. "
        f"Build the index with a multilingual one, such as `{MULTILINGUAL_MODEL}`."
    )


def _model_folder(spec: str) -> str:
    found = find_embedding_model(spec)
    if Path(found).is_dir():
        return found
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return str(snapshot_download(found, allow_patterns=MODEL_FILES))
    except (HfHubHTTPError.__bases__[0], HFValidationError, OSError) as error:
        raise RowIndexError(
            f"Encoder `{spec}` is neither a folder here nor a model that could be fetched: "
            f"{' '.join(str(error).split())[:300]} Correct the name, or install `rebase-hf[offline]` for the default."
        ) from error


def _static_root(folder: Path) -> Path:
    """Return where the table lies: model2vec puts it on top, sentence-transformers in its module's folder."""
    nested = sorted(folder.glob("*StaticEmbedding/model.safetensors"))
    return nested[0].parent if nested and not (folder / "model.safetensors").is_file() else folder


def _card_languages(folder: str) -> tuple[str, ...] | None:
    from rebase_hf.index.source_cards import read_card

    card = Path(folder) / "README.md"
    if not card.is_file():
        return None
    try:
        return read_card(card).language or None
    except ValueError:  # a model card that can't be read says nothing about languages
        return None


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
