"""Encoding texts of mixed lengths, and one query: ours beside `SentenceTransformer.encode` with its defaults.

90 % short texts (messages, as they stand in cells) and 10 % long ones, all distinct, so that nothing is gained by
encoding a repeated text once. Seconds are of CPU, latency too: ratios of interleaved rounds, as other work may run on
the machine. On a busy one PyTorch's threads spin, so `--threads 1` gives the cautious ratio; wall times stand beside.
With REBASE_KIT=<folder of the public kit> the texts are banking77's and its nDCG@10 is measured (gold rows retrieved
by evaluation rows, a row of the same label being relevant); else the texts are those of examples/bank and quality is
not measured.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, at_least, at_most, parser, report
from rebase_hf.index.encoders import Encoder, load_encoder

KIT = "REBASE_KIT"
LARGEST_LOSS = 0.005
WARM_UP = ["a text to warm up with", "another one, a little longer than the first"]
TURN = 10  # queries that one encoder answers before it is another's turn
PAUSE = 0.5  # seconds between


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--texts", type=int, default=500)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--queries", type=int, default=60)
    made.add_argument("--judged", type=int, default=1000, help="rows retrieved and rows asked with, for nDCG@10")
    made.add_argument("--threads", type=int, default=0, help="threads of each; 0: as each chooses by default")
    options = made.parse_args()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REBASE_HOME"] = folder
        encoders = {"exact": load_encoder(), "int8": load_encoder("onnx-int8:")}
        encoders["static"] = load_encoder(f"static:{make_static(Path(folder) / 'static', encoders['int8'])}")
        texts = mixed_texts(options.texts)
        lines = throughput(texts, encoders, options) + latency(texts, encoders, options.queries)
        if KIT in os.environ:
            lines += quality(encoders, options.judged)
    report("index_encoding", made, options, lines)


def throughput(texts: Sequence[str], encoders: dict[str, Encoder], options: argparse.Namespace) -> list[Line]:
    """Return the ratios of CPU time, each the median over rounds in which all ran one after the other."""
    peer = peer_encode(encoders["exact"])
    ways: dict[str, Callable[[Sequence[str]], Any]] = {"peer": peer}
    ways |= {name: encoder.encode for name, encoder in encoders.items()}
    vectors = {name: np.asarray(encode(texts)) for name, encode in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    walls: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name in sorted(ways, key=lambda name: hash((number, name))):
            began = time.perf_counter()
            seconds[name].append(cpu(lambda encode=ways[name]: encode(texts)))
            walls[name].append(time.perf_counter() - began)
    cosine = float((vectors["peer"] * vectors["exact"]).sum(axis=1).min())
    near = (vectors["peer"] * vectors["int8"]).sum(axis=1)
    best = {name: round(min(found), 3) for name, found in seconds.items()}
    details = {"texts": len(texts), "cpu_seconds": seconds, "wall_seconds": walls, "best": best}

    def ratio(name: str) -> float:
        return statistics.median(p / o for p, o in zip(seconds["peer"], seconds[name], strict=True))

    per = {name: len(texts) / value for name, value in best.items()}
    return [
        Line(
            "encode",
            f"encoding, float32: {per['exact']:.0f} texts a CPU-second, the peer {per['peer']:.0f}",
            **at_least(ratio("exact"), 1.5, "times the peer", digits=2),
            details=details,
        ),
        Line("encode_cosine", "lowest cosine of its vectors to the peer's", **_above(cosine, 0.9999)),
        Line(
            "encode_int8",
            f"encoding, int8: {per['int8']:.0f} texts a CPU-second",
            **at_least(ratio("int8"), 3.3, "times the peer", digits=2),
            details={"cosine_min": float(near.min()), "cosine_mean": float(near.mean())},
        ),
        Line(
            "encode_static",
            f"encoding, static: {per['static']:.0f} texts a CPU-second",
            **at_least(ratio("static"), 20, "times the peer", digits=1),
        ),
    ]


def latency(texts: Sequence[str], encoders: dict[str, Encoder], queries: int) -> list[Line]:
    """Return the latency of one query, int8 against the peer, asked in turn."""
    peer, ours = peer_encode(encoders["exact"]), encoders["int8"].encode
    short = [text for text in texts if len(text) < 120][:queries]
    taken: dict[str, list[float]] = {"peer": [], "ours": [], "exact": []}
    for encode in (peer, ours, encoders["exact"].encode):
        encode(WARM_UP)
    for start in range(0, len(short), TURN):
        for name, encode in (("peer", peer), ("ours", ours), ("exact", encoders["exact"].encode)):
            time.sleep(PAUSE)  # torch's threads go on spinning for a while, on the cores that the next one needs
            encode(WARM_UP)
            for text in short[start : start + TURN]:
                began = time.perf_counter()
                encode([text])
                taken[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(found) * 1e3 for name, found in taken.items()}
    return [
        Line(
            "query",
            f"one query, int8: {middle['ours']:.1f} ms, the peer {middle['peer']:.1f} ms",
            **at_most(middle["ours"] / middle["peer"], 0.25, "of the peer's latency"),
            details={"median_ms": {name: round(value, 2) for name, value in middle.items()}, "queries": len(short)},
        )
    ]


def quality(encoders: dict[str, Encoder], judged: int) -> list[Line]:
    """Return what int8 and static lose of nDCG@10 on banking77."""
    rows, asked = banking77("gold")[:judged], banking77("eval")[:judged]
    found = {name: ndcg(encoder, rows, asked) for name, encoder in encoders.items()}
    loss = found["exact"] - found["int8"]
    details = {"ndcg@10": {name: round(value, 4) for name, value in found.items()}, "rows": len(rows)}
    return [
        Line(
            "int8_loss",
            f"nDCG@10 on banking77: {found['exact']:.4f} in float32, {found['int8']:.4f} in int8; lost",
            **at_most(loss, LARGEST_LOSS, "nDCG@10", digits=4),
            details=details,
        ),
        Line(
            "static_loss",
            f"nDCG@10 on banking77: {found['static']:.4f} with a static model distilled here; lost",
            shown=f"{found['exact'] - found['static']:.4f} nDCG@10",
        ),
    ]


def ndcg(encoder: Encoder, rows: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]]) -> float:
    """Return the mean nDCG@10 of asking with texts for rows, those of the same label being relevant."""
    labels = np.array([label for _, label in rows])
    scores = encoder.encode([text for text, _ in asked]) @ encoder.encode([text for text, _ in rows]).T
    gains = 1 / np.log2(np.arange(10) + 2)
    found = []
    for (_, label), row in zip(asked, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:10]
        relevant = int((labels == label).sum())
        if relevant:
            found.append(float((gains * (labels[best] == label)).sum() / gains[:relevant].sum()))
    return statistics.mean(found)


def peer_encode(exact: Any) -> Callable[[Sequence[str]], Any]:
    """Return `SentenceTransformer.encode` of the same model, with its defaults."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(exact.folder, device="cpu", local_files_only=True)
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def mixed_texts(count: int) -> list[str]:
    """Return distinct texts: nine short ones, then a long one of 8 to 24 such texts; shuffled."""
    drawn = random.Random(0)
    short = sorted({text for text, _ in banking77("gold")} if KIT in os.environ else bank_texts())
    drawn.shuffle(short)
    texts = [
        " ".join(drawn.sample(short, drawn.randint(8, 24))) if place % 10 == 9 else short[place % len(short)]
        for place in range(count)
    ]
    drawn.shuffle(texts)
    if len(set(texts)) < len(texts):
        raise SystemExit(f"{len(short)} short texts do not make {count} distinct ones; ask for fewer --texts")
    return texts


def bank_texts() -> set[str]:
    """Return the cells of a sentence or so in the example bank."""
    found: set[str] = set()
    for file in sorted((ROOT / "examples" / "bank").glob("*/data/*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            found |= {str(cell) for cell in json.loads(line).values() if 15 < len(str(cell)) < 200}
    return found


def banking77(part: str) -> list[tuple[str, str]]:
    """Return texts with their labels, shuffled."""
    import pyarrow.parquet as pq

    rows = pq.read_table(Path(os.environ[KIT]) / "tasks" / "banking77" / f"{part}.parquet").to_pylist()
    random.Random(1).shuffle(rows)
    return [(str(row["text"]), str(row["label"])) for row in rows]


def make_static(folder: Path, encoder: Any) -> Path:
    """Distil a static model as model2vec does: a vector a token, principal parts, frequent tokens held down."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(encoder.folder) / "tokenizer.json"))
    words = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    vectors = encoder.encode([word.removeprefix("##") for word in words])
    centred = vectors - vectors.mean(axis=0)
    _, _, parts = np.linalg.svd(centred[:: max(1, len(words) // 8000)], full_matrices=False)
    # BERT's words stand in order of frequency, which Zipf's law makes a share; SIF weights it with a = 1e-4.
    whole = np.array([len(word) > 1 and word.isalpha() for word in words])
    shares = np.where(whole, 1 / (np.cumsum(whole) + 1), 0)
    weights = 1e-4 / (1e-4 + shares / shares.sum())
    folder.mkdir()
    save_file({"embeddings": (centred @ parts.T * weights[:, None]).astype(np.float32)}, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return folder


def cpu(work: Callable[[], object]) -> float:
    """Return the seconds of CPU that work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _above(figure: float, limit: float) -> dict[str, Any]:
    return {"shown": f"{figure:.7f}", "target": f"above {limit}", "met": figure > limit}


if __name__ == "__main__":
    main()
