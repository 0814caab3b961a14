"""Static encoders, as model2vec makes them: a table of token vectors, no network."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from rebase_hf.embedding_model import model_fingerprint
from rebase_hf.errors import RowIndexError, require
from rebase_hf.index.encoders import STATIC_PREFIX, card_languages, digest_of, model_folder
from rebase_hf.index.text_batches import Vectors, encode_distinct


class StaticEncoder:
    """A model2vec model: the mean of its tokens' vectors. 60 to 100 times as fast as MiniLM, clearly less exact."""

    def __init__(self, spec: str) -> None:
        require("tokenizers", what="A static encoder", extra="encoders")
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self.name = spec if spec.startswith(STATIC_PREFIX) else STATIC_PREFIX + spec
        self.folder = model_folder(self.name.removeprefix(STATIC_PREFIX))
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
        return digest_of(["static", model_fingerprint(self.folder)])

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """The languages that the model's card names; None when it names none."""
        return card_languages(self.folder)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, each distinct text encoded once; one even vector for texts without a known token."""
        return encode_distinct(texts, self._encode, self.dimension)

    def _encode(self, texts: list[str]) -> Vectors:
        vectors = np.full((len(texts), self.dimension), self.dimension**-0.5, dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)):
            ids = np.array([token for token in encoding.ids if token not in self._unknown], dtype=np.int64)
            rows = ids if self._mapping is None else self._mapping[ids]
            weights = np.ones(len(ids)) if self._weights is None else self._weights[ids]
            mean = (self._table[rows] * weights[:, None]).sum(axis=0)
            length = float(np.linalg.norm(mean))
            if length > 0:
                vectors[row] = mean / length
        return vectors


def _static_root(folder: Path) -> Path:
    """Return where the table lies: model2vec puts it on top, sentence-transformers in its module's folder."""
    nested = sorted(folder.glob("*StaticEmbedding/model.safetensors"))
    return nested[0].parent if nested and not (folder / "model.safetensors").is_file() else folder
