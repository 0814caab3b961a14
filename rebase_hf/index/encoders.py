"""Text to vectors: a one-method protocol, its default, and what an encoder is, byte for byte."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model, model_fingerprint
from rebase_hf.errors import RowIndexError, require
from rebase_hf.index.text_batches import Vectors, encode_distinct

MULTILINGUAL_MODEL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
STATIC_PREFIX = "static:"
ONNX_PREFIX = "onnx-int8:"
# What is fetched of a model: no weights in other runtimes' formats, and nothing that would have to be unpickled.
MODEL_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "README.md"]
PROBES = ("A customer asks where the parcel is.", "Der Zug fährt um acht Uhr.", "f(x) = 2x + 1", "no")


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
        self.folder = model_folder(self.name)

    @property
    def identity(self) -> str:
        """Digest of weights, tokenizer, pooling and runtime."""
        return digest_of(["sentence-transformers", model_fingerprint(self.folder)])

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """The languages that the model's card names; None when it names none."""
        return card_languages(self.folder)

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
        """Return unit vectors, each distinct text encoded once; texts beyond the model's length are cut.

        A text's vector is the same, bit for bit, whatever texts stand with it, on a CPU and for the usual modules.
        """
        from rebase_hf.index.torch_batches import encode_with

        return encode_distinct(texts, lambda some: encode_with(self._model, some, self.dimension), self.dimension)


def load_encoder(spec: str | Encoder | None = None) -> Encoder:
    """Return an encoder.

    Args:
        spec: An object with `name`, `dimension` and `encode`; a sentence-transformers model id or folder;
            `static:` and a model2vec id or folder; `onnx-int8:` and the id or folder of a BERT-like
            sentence-transformers model, to run it with int8 weights by ONNX Runtime; None for all-MiniLM-L6-v2.

    Raises:
        RowIndexError: There is no such model here or on the Hub, or the object is no encoder.
        MissingExtraError: The package that runs it is not installed.
    """
    if spec is None or isinstance(spec, str):
        if spec is not None and spec.startswith(STATIC_PREFIX):
            from rebase_hf.index.static_encoder import StaticEncoder

            return StaticEncoder(spec)
        if spec is not None and spec.startswith(ONNX_PREFIX):
            from rebase_hf.index.onnx_encoder import OnnxEncoder

            return OnnxEncoder(spec)
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
    return digest_of([kind.__module__, kind.__qualname__, encoder.dimension, probes.tolist()])


def encoder_of_index(spec: str | Encoder, about: Mapping[str, Any], path: Path) -> Encoder:
    """Return the encoder that an index was built with.

    Args:
        spec: Where to find it.
        about: Its `name`, `identity` and `dimension`, as the index's manifest says.

    Raises:
        RowIndexError: What was found is another one.
    """
    encoder = load_encoder(spec)
    check_same_encoder(encoder, about, path)
    return encoder


def check_same_encoder(encoder: Encoder, about: Mapping[str, Any], path: Path) -> None:
    """Check that an encoder is the one that an index was built with.

    Raises:
        RowIndexError: It is another one; names both.
    """
    identity = encoder_identity(encoder)
    if encoder.dimension != about["dimension"] or identity != about["identity"]:
        raise RowIndexError(
            f"Index {path} was built with encoder `{about['name']}` "
            f"({about['dimension']} dimensions, identity {about['identity'][:12]}); this one is "
            f"`{encoder.name}` ({encoder.dimension} dimensions, identity {identity[:12]}). "
            "Pass the same encoder, or build the index again."
        )


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


def model_folder(spec: str) -> str:
    """Return the folder of a model, fetched from the Hub where it is not here.

    Raises:
        RowIndexError: There is no such model.
    """
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


def card_languages(folder: str) -> tuple[str, ...] | None:
    """Return the languages that a model's card names; None when it names none."""
    from rebase_hf.index.source_cards import read_card

    card = Path(folder) / "README.md"
    if not card.is_file():
        return None
    try:
        return read_card(card).language or None
    except ValueError:  # a model card that can't be read says nothing about languages
        return None


def digest_of(parts: Sequence[Any]) -> str:
    """Return the sha256 of a list that JSON can hold."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
