"""The int8 runtime: a BERT-like sentence encoder run by ONNX Runtime, on the CPU, without PyTorch."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rebase_hf.embedding_model import DEFAULT_MODEL, model_fingerprint
from rebase_hf.errors import require
from rebase_hf.home import rebase_home
from rebase_hf.index.durable import sha256_file, write_bytes
from rebase_hf.index.encoders import ONNX_PREFIX, card_languages, digest_of, model_folder
from rebase_hf.index.onnx_export import ABOUT, EXPORT_VERSION, GRAPH, TOKENIZER, export_encoder
from rebase_hf.index.text_batches import Positions, Vectors, encode_distinct, length_batches, run_batches, usable_cores

# 512 tokens take 5 to 10 % less time than 1,024 (single thread, 90 % short texts and 10 % long ones).
INT8_BUDGET = 512
SUMS = "sha256.json"


class OnnxEncoder:
    """`onnx-int8:` and the id or folder of a sentence-transformers model; written once under `$REBASE_HOME/encoders`.

    Opt-in: its vectors are close to those of the model in float32 (cosine about .997), and not the same.
    """

    def __init__(self, spec: str) -> None:
        require("onnxruntime", what="An `onnx-int8:` encoder", extra="onnx")
        model = spec.removeprefix(ONNX_PREFIX) or DEFAULT_MODEL
        self.name = ONNX_PREFIX + model
        self.folder = model_folder(model)

    @cached_property
    def identity(self) -> str:
        """Digest of weights, tokenizer, pooling and runtime: another than that of the same model in float32."""
        return digest_of(["onnx-int8", EXPORT_VERSION, model_fingerprint(self.folder)])

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """The languages that the model's card names; None when it names none."""
        return card_languages(self.folder)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._session.dimension

    @cached_property
    def _session(self) -> "Session":
        return Session.open(self._graph_folder())

    def _graph_folder(self) -> Path:
        """Return the folder of the graph, written first where it is not there or is damaged."""
        home = rebase_home() / "encoders"
        home.mkdir(parents=True, exist_ok=True)
        folder = home / self.identity
        with FileLock(home / f"{self.identity}.lock"):
            if not _is_whole(folder):
                export_encoder(Path(self.folder), folder)
                sums = {name: sha256_file(folder / name) for name in (GRAPH, TOKENIZER, ABOUT)}
                write_bytes(folder / SUMS, json.dumps(sums).encode())
        return folder

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, each distinct text encoded once; the same bits whatever texts stand together."""
        session = self._session
        return encode_distinct(texts, session.encode, session.dimension)


class Session:
    """A graph with its tokenizer."""

    def __init__(self, folder: Path, about: dict[str, Any], graph: bytes | None = None) -> None:
        from tokenizers import Tokenizer

        self.dimension: int = about["dimension"]
        self._prompt, self._lower = about["prompt"], about["lower"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(about["max_length"])
        self._graph = _session(graph) if graph is not None else None

    @classmethod
    def open(cls, folder: Path) -> "Session":
        """Return the session of a folder that `export_encoder` wrote."""
        return cls(folder, json.loads((folder / ABOUT).read_bytes()), (folder / GRAPH).read_bytes())

    def encode(self, texts: list[str]) -> Vectors:
        """Return the vectors of texts, in batches of one length."""
        tokens = self._tokens(texts)
        lengths = [len(ids) for ids in tokens]

        def run(batch: Positions) -> Vectors:
            ids = np.array([tokens[place] for place in batch], dtype=np.int64)
            return _run(self._graph, ids, np.ones_like(ids))

        out = np.empty((len(texts), self.dimension), np.float32)
        run_batches(length_batches(lengths, INT8_BUDGET), run, out, usable_cores())
        return out

    def run_padded(self, graph: bytes, texts: Sequence[str]) -> Vectors:
        """Return the vectors that a graph gives for texts in one padded batch."""
        tokens = self._tokens(texts)
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, found in enumerate(tokens):
            ids[row, : len(found)], mask[row, : len(found)] = found, 1
        return _run(_session(graph), ids, mask)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        given = [self._prompt + text for text in texts]
        given = [text.lower() for text in given] if self._lower else given
        encodings = self._tokenizer.encode_batch_fast(given)
        return [encoding.ids for encoding in encodings]


def _session(graph: bytes) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    # One thread a run: batches run side by side, and sums are made in one order.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> Vectors:
    vectors: Vectors = session.run(["vectors"], {"input_ids": ids, "attention_mask": mask})[0]
    return vectors


def _is_whole(folder: Path) -> bool:
    """Return whether a folder holds what was written to it, by sha256."""
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        return set(sums) == {GRAPH, TOKENIZER, ABOUT} and all(
            sha256_file(folder / name) == digest for name, digest in sums.items()
        )
    except (OSError, ValueError, TypeError):
        return False
