"""KARD's reranker: from the question alone, which passages the rationale would have found (arXiv 2305.18395, 3.3).

Two towers, one that reads questions and one that reads passages, give every token a vector; a passage scores the sum
over the question's tokens of the largest dot product with any of its own (late interaction, ColBERT, arXiv
2004.12832). Vectors are of unit length as in ColBERT, so that scores are bounded, and so is what a temperature does.

reranker.json                               format, base model, settings
tokenizer.json, ...                         one tokenizer for both
query/config.json, model.safetensors        the tower of questions
passage/config.json, model.safetensors      the tower of passages
compressor.safetensors                      the linear layer behind both
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.students.trainer_run import load_pretrained
from rebase_hf.training_run import quiet_loading

FORMAT = 1
MANIFEST = "reranker.json"
COMPRESSOR = "compressor.safetensors"
TOWERS = ("query", "passage")
AUTO_CLASS = "AutoModel"
# Tokens read of a question or a passage, where the model takes as many; the paper's code reads 512. A passage of
# `PASSAGE_CHARS` characters has about half of these.
MAX_TOKENS = 320
BATCH_SIZE = 32


class Reranker:
    """Scores passages for a question.

    Attributes:
        query: The tower that reads questions, a transformers encoder.
        passage: The tower that reads passages, another of the same kind.
        compressor: The linear layer that makes a token's hidden state its vector.
        facts: How it was trained.
    """

    def __init__(
        self, query: Any, passage: Any, compressor: Any, tokenizer: Any, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.query, self.passage, self.compressor, self.tokenizer = query, passage, compressor, tokenizer
        self.facts: Mapping[str, Any] = dict(facts or {})

    @classmethod
    def new(cls, base_model: str) -> "Reranker":
        """Return an untrained reranker: both towers are the base model, and the linear layer leaves all as it is.

        The official code begins with a random layer; one that changes nothing begins where the encoder is.

        Raises:
            StudentError: There is no such encoder.
        """
        import torch

        query, tokenizer = load_pretrained(AUTO_CLASS, base_model)
        passage, _ = load_pretrained(AUTO_CLASS, base_model)
        compressor = torch.nn.Linear(query.config.hidden_size, query.config.hidden_size, bias=False)
        with torch.no_grad():
            compressor.weight.copy_(torch.eye(query.config.hidden_size))
        return cls(query, passage, compressor, tokenizer)

    def parameters(self) -> Iterator[Any]:
        """Yield all that is trained: both towers and the linear layer."""
        for part in (self.query, self.passage, self.compressor):
            yield from part.parameters()

    def scores(self, question: str, passages: Sequence[str]) -> np.ndarray:
        """Return how well each passage fits a question, float32 (passages): the mean over the question's tokens.

        It is the sum that it was trained on, divided by the number of the question's tokens: at most 1, and to be
        compared with a threshold whatever the length of the question.
        """
        import torch

        if not passages:
            return np.zeros(0, np.float32)
        self._set_training(on=False)
        found = []
        with torch.inference_mode():
            asked, is_token = self._vectors(self.query, [question])
            for start in range(0, len(passages), BATCH_SIZE):
                vectors, mask = self._vectors(self.passage, list(passages[start : start + BATCH_SIZE]))
                found.append(_late_interaction(asked[0], vectors, mask))
            scores = torch.cat(found) / is_token[0].sum()
        return np.asarray(scores.float().cpu().numpy(), dtype=np.float32)

    def interact(self, question: str, passages: Sequence[str]) -> Any:
        """Return f(d, x) of each passage d for a question x as a torch tensor with gradients: the sum over tokens."""
        asked, _ = self._vectors(self.query, [question])
        vectors, mask = self._vectors(self.passage, list(passages))
        return _late_interaction(asked[0], vectors, mask)

    def to(self, device: str) -> "Reranker":
        """Move it to a device and return it."""
        for part in (self.query, self.passage, self.compressor):
            part.to(device)
        return self

    def train_mode(self) -> None:
        """Switch dropout on; `scores` switches it off."""
        self._set_training(on=True)

    def save(self, folder: str | Path) -> Path:
        """Write it to a folder: safetensors and JSON alone, the manifest last."""
        from safetensors.torch import save_file

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / MANIFEST).unlink(missing_ok=True)
        with quiet_loading():
            for name, tower in zip(TOWERS, (self.query, self.passage), strict=True):
                tower.save_pretrained(path / name)
            self.tokenizer.save_pretrained(path)
        save_file({"weight": self.compressor.weight.detach().cpu().contiguous()}, path / COMPRESSOR)
        manifest = {"format": FORMAT, **self.facts}
        (path / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Reranker":
        """Return a saved reranker. Nothing is unpickled, and no code of its folder is run.

        Raises:
            StudentError: The folder holds none, one of another format, or one that is damaged.
        """
        path = Path(folder)
        facts = _read_manifest(path / MANIFEST)
        (query, tokenizer), (passage, _) = (
            load_pretrained(AUTO_CLASS, str(path / name), safe=True, tokenizer=str(path)) for name in TOWERS
        )
        return cls(query, passage, _read_compressor(path / COMPRESSOR, query.config.hidden_size), tokenizer, facts)

    def _vectors(self, tower: Any, texts: list[str]) -> tuple[Any, Any]:
        """Return unit vectors (texts, tokens, width), zero where there is no token, and where there is one."""
        import torch

        longest = min(MAX_TOKENS, int(self.tokenizer.model_max_length))
        batch = self.tokenizer(texts, truncation=True, max_length=longest, padding=True, return_tensors="pt")
        batch = batch.to(tower.device)
        vectors = self.compressor(tower(**batch).last_hidden_state)
        mask = batch["attention_mask"].bool()
        return torch.nn.functional.normalize(vectors, dim=-1) * mask.unsqueeze(-1), mask

    def _set_training(self, *, on: bool) -> None:
        for part in (self.query, self.passage, self.compressor):
            part.train(on)


def _late_interaction(asked: Any, vectors: Any, mask: Any) -> Any:
    """Return for each passage the sum over the question's tokens of the largest dot product with one of its tokens.

    Args:
        asked: (question tokens, width); rows of zeros add nothing.
        vectors: (passages, tokens, width).
        mask: (passages, tokens), true where there is a token.
    """
    dots = (vectors @ asked.T).masked_fill(~mask.unsqueeze(-1), float("-inf"))
    return dots.max(dim=1).values.sum(dim=-1)


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudentError(f"{file.parent} holds no reranker: {error}. Save or download the student again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        held = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise StudentError(f"{file} is of format `{held}`; this version reads {FORMAT}. Train the student again.")
    return {name: value for name, value in manifest.items() if name != "format"}


def _read_compressor(file: Path, width: int) -> Any:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weight = load_file(file)["weight"]
    except (OSError, SafetensorError, KeyError) as error:
        raise StudentError(f"{file} can't be read: {error}. Save or download the student again.") from error
    if weight.ndim != 2 or weight.shape[1] != width:
        raise StudentError(f"{file} is of shape {tuple(weight.shape)}; the towers' width is {width}. It is damaged.")
    compressor = torch.nn.Linear(width, weight.shape[0], bias=False)
    with torch.no_grad():
        compressor.weight.copy_(weight)
    return compressor
