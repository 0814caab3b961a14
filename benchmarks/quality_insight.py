"""The diversity report's time, and how well dataset cartography finds wrong labels that are planted.

Texts are made where REBASE_KIT=<folder of the public kit> is not set; with it they are boolq's passages, and labels of
four of its tasks are turned wrong at random: how often a wrong one lies below a right one on the map (AUC, 0.5 is
chance), watched in-sample as the papers do, and cross-fitted. Seconds are of CPU.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import Line, at_most, parser, report
from rebase_hf.index.encoders import load_encoder
from rebase_hf.quality.cartography import draw_map
from rebase_hf.quality.diversity import diversity_report
from rebase_hf.quality.learning import training_dynamics
from rebase_hf.run_diversity import ENCODED_CHARS, ENCODED_ROWS

KIT = "REBASE_KIT"
TASKS = ("banking77", "dbpedia14", "crowdflower_emotion", "boolq")
TARGET_SECONDS = 20
TARGET_ENCODING = 10


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1000, help="texts of the diversity report")
    made.add_argument("--labelled", type=int, default=1500, help="rows of each task whose labels are turned wrong")
    made.add_argument("--wrong", type=float, default=0.17, help="share of labels turned wrong")
    options = made.parse_args()
    lines = diversity_lines(options)
    if KIT in os.environ:
        lines += [planted_line(task, options) for task in TASKS]
    report("quality_insight", made, options, lines)


def diversity_lines(options: argparse.Namespace) -> list[Line]:
    texts = long_texts(2 * options.rows)
    ours, held = texts[: options.rows], texts[options.rows :]
    vectors = {text: vector for text, vector in zip(texts, made_vectors(len(texts)), strict=True)}
    began = time.process_time()
    diversity_report(ours, encode=lambda some: np.stack([vectors[text] for text in some]), evaluation=held)
    seconds = time.process_time() - began
    words = sum(len(text.split()) for text in ours) / len(ours)
    what = f"all measures of {options.rows:,} texts of {words:.0f} words, vectors given"
    lines = [Line("diversity", what, **at_most(seconds, TARGET_SECONDS, "s"))]
    encoder = load_encoder()
    encoder.encode(["loaded"])
    cut = [text[:ENCODED_CHARS] for text in texts[: 2 * ENCODED_ROWS]]
    began = time.process_time()
    encoder.encode(cut)
    what = f"encoding what a run's report encodes: {len(cut)} texts of {ENCODED_CHARS} characters at most"
    return [*lines, Line("encoding", what, **at_most(time.process_time() - began, TARGET_ENCODING, "s"))]


def planted_line(task: str, options: argparse.Namespace) -> Line:
    texts, labels = labelled(task, options.labelled)
    chance = np.random.default_rng(0)
    wrong = chance.random(len(labels)) < options.wrong
    kinds = sorted(set(labels))
    told = [str(chance.choice([k for k in kinds if k != label])) if w else label for label, w in zip(labels, wrong)]  # noqa: B905
    vectors = load_encoder().encode([text[:500] for text in texts])
    found: dict[str, float] = {}
    for name, folds in (("in-sample", 1), ("cross-fitted", 5)):
        began = time.process_time()
        confidence = draw_map(training_dynamics(vectors, told, folds=folds)).confidence
        found[f"{name} seconds"] = time.process_time() - began
        found[name] = area_under_curve(-confidence, wrong)
    shown = f"{found['cross-fitted']:.3f} cross-fitted, {found['in-sample']:.3f} in-sample"
    return Line(f"planted_{task}", f"{task}: AUC of {wrong.mean():.0%} wrong labels", shown, details=found)


def area_under_curve(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Return how often a wanted one has a higher score than another."""
    ranks = np.argsort(np.argsort(scores)) + 1.0
    count = int(wanted.sum())
    return float((ranks[wanted].sum() - count * (count + 1) / 2) / (count * (len(wanted) - count)))


def labelled(task: str, count: int) -> tuple[list[str], list[str]]:
    from rebase_hf import Task

    made = Task.load(Path(os.environ[KIT]) / "tasks" / task)
    rows = made.evaluation_rows()
    chosen = np.random.default_rng(0).permutation(len(rows))[:count].tolist()
    return [made.input_text(rows[row]) for row in chosen], [rows[row][made.output] for row in chosen]


def long_texts(count: int) -> list[str]:
    if KIT in os.environ:
        from rebase_hf import Task

        rows: list[dict[str, Any]] = Task.load(Path(os.environ[KIT]) / "tasks" / "boolq").evaluation_rows()
        return list(dict.fromkeys("\n".join(row.values()) for row in rows))[:count]
    chance = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(20_000)])
    ranks = 1.0 / np.arange(1, len(words) + 1)
    return [" ".join(chance.choice(words, 100, p=ranks / ranks.sum())) for _ in range(count)]


def made_vectors(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((count, 384)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
