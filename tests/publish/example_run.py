"""A run folder like those that `rebase-hf run` writes, made on the spot: the same bytes every time.

`python -m tests.publish.example_run` renders `model_cards/examples/` from it again.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value

from rebase_hf.students.learning_map import LEARNER

ROOT = Path(__file__).parents[2]
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
EXAMPLES = ROOT / "model_cards" / "examples"

TASK = """\
name: support-triage
instruction: Decide which team should handle a customer's message.
inputs: [message]
output: team
labels:
  billing: a payment, invoice, price or refund
  technical: something that does not work
  delivery: where an order is, or how it arrived
examples:
  - {message: "I was charged twice in May.", team: billing}
  - {message: "The app closes as soon as I open it.", team: technical}
  - {message: "My parcel has been in the depot for a week.", team: delivery}
evaluation: {path: /home/someone/private/eval.jsonl}
"""

# (dataset, config, split, revision, licence, url, examples made from it)
SOURCES = (
    (
        "acme/helpdesk-mail",
        "default",
        "train",
        "3f" * 20,
        "cc-by-4.0",
        "https://huggingface.co/datasets/acme/helpdesk-mail",
        28,
    ),
    ("shop-reviews", None, "train", "9c" * 32, "mit", None, 20),
    (
        "open/forum-posts",
        "en",
        "test",
        "b1" * 20,
        "cc-by-sa-4.0",
        "https://huggingface.co/datasets/open/forum-posts",
        12,
    ),
)
SUBJECTS = {
    "billing": (
        "The invoice for {month} lists a fee that nobody told me about.",
        "Can I have my money back for the {month} order?",
    ),
    "technical": (
        "Since the {month} update the login page stays blank.",
        "The {month} export ends with an error code and no file.",
    ),
    "delivery": (
        "The box that I ordered in {month} came without its lid.",
        "Tracking has said `on its way` since {month}.",
    ),
}
MONTHS = ("January", "March", "May", "July", "August", "October", "November")


def features(labels: list[str]) -> Features:
    """The columns of DESIGN's "The dataset that comes out"."""
    text, number = Value("string"), Value("int64")
    where = {"dataset": text, "config": text, "split": text, "revision": text, "row": number, "license": text}
    made_by = {"url": text, "score": Value("float64"), "method": text, "teacher": text, "prompt_id": text}
    return Features(
        {
            "message": text,
            "team": ClassLabel(names=labels),
            "provenance": {**where, **made_by},
            "sources": List({"role": text, **where}),
        }
    )


def make_rows(teacher: str) -> list[dict[str, Any]]:
    """The examples, in the order of their score."""
    rows = []
    for dataset, config, split, revision, license_, url, count in SOURCES:
        for i in range(count):
            label = list(SUBJECTS)[len(rows) % 3]
            where = {
                "dataset": dataset,
                "config": config,
                "split": split,
                "revision": revision,
                "row": i * 7 + 3,
                "license": license_,
            }
            message = SUBJECTS[label][i % 2].format(month=MONTHS[i % len(MONTHS)])
            made_by = {"url": url, "score": 0.62 - 0.004 * len(rows), "method": "rebase", "teacher": teacher}
            prompt_id = f"{len(rows):064x}"
            rows.append(
                {
                    "message": message,
                    "team": label,
                    "provenance": {**where, **made_by, "prompt_id": prompt_id},
                    "sources": [{"role": "context", **where}],
                }
            )
    return rows


def make_report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A report of the contract's shape, whose counts add up."""
    datasets = Counter(row["provenance"]["dataset"] for row in rows)
    scores = [row["provenance"]["score"] for row in rows]
    indexed = [
        {"dataset": d, "config": c, "split": s, "revision": r, "license": lic, "language": ["en"], "rows": 120}
        for d, c, s, r, lic, _, _ in SOURCES
    ]
    words = {"words_in_a_row": 13, "short_texts_from": 20}
    return {
        "command": "rebase-hf run examples/support-triage/task.yaml --index /home/someone/private/index "
        "--teacher few-shot --num-examples 60 --output runs/demo",
        "versions": {"rebase_hf": "0.1.0", "datasets": "5.2.0"},
        "seed": 0,
        "task": {"name": "support-triage"},
        "method": "rebase",
        "method_options": {},
        "checks": {},
        "index": {
            "path": "/home/someone/private/index",
            "fingerprint": "ab" * 32,
            "encoder": {"name": ENCODER, "identity": "cd" * 32, "dimension": 384},
            "rows": 360,
            "vectors": 700,
            "sources": indexed,
            "skipped": [
                {"source": "closed/mail", "reason": "license_not_allowed", "detail": "`cc-by-nc-4.0` is not allowed"}
            ],
        },
        "teacher": {
            "target": "few-shot",
            "model": f"few-shot:{ENCODER}",
            "revision": "cd" * 32,
            "kind": "few-shot",
            "license": "apache-2.0",
            "license_from": "card",
        },
        "asked_for": 60,
        "retrieved": 140,
        "dropped_before": {"source_cap": 22, "near_duplicate_row": 13, "in_evaluation_set": 2},
        "asked": 103,
        "outputs": 103,
        "examples": len(rows),
        "dropped": {"low_confidence": 31, "duplicate_output": 6, "few_shot_copy": 1, "in_evaluation_set": 1},
        "quarantined": 4,
        "quarantined_reasons": {"too_long": 4},
        "stopped": None,
        "statement": "60 of 60 examples asked for.",
        "requests": 103,
        "from_journal": 0,
        "tokens": {"prompt": 0, "completion": 0},
        "cost": None,
        "seconds": {"retrieve": 1.8, "transform": 12.4, "train": 41.0, "evaluate": 3.1},
        "sources": dict(datasets),
        "labels": dict(Counter(row["team"] for row in rows)),
        "scores": {"min": min(scores), "mean": sum(scores) / len(scores), "max": max(scores)},
        "splits": {"train": 54, "validation": 6},
        "diversity": {
            "rows": 60,
            "of": 60,
            "seed": 0,
            "self_bleu": {"1": 0.83, "2": 0.61, "3": 0.42, "4": 0.308, "5": 0.221},
            "distinct": {"1": 0.312, "2": 0.744, "3": 0.902},
            "unique_share": 0.9333,
            "unique_below": 0.7,
            "entities": {"name": {"count": 41, "kinds": 12, "entropy": 2.2, "effective": 9.025}},
            "sources": {"count": 60, "kinds": 3, "entropy": 1.0114, "effective": 2.7494},
            "pairwise_similarity": 0.241,
            "evaluation": {"rows": 60, "nearest": 0.612, "mauve": 0.704},
        },
        "contamination": {
            "sets": [{"name": "eval.jsonl", "rows": 90}, {"name": "open/mail-triage::test", "rows": 1200}],
            "before_asking": {"of": "retrieved rows", **words, "similarity": 0.95},
            "passages": None,
            "outputs": {**words, "near_duplicate": 0.6, "similarity": None},
            "own_family": True,
        },
        "evaluation": {"rows": 90, "source": "/home/someone/private/eval.jsonl"},
        "student": {"accuracy": 0.871, "accuracy_std": 0.014, "macro_f1": 0.862, "macro_f1_std": 0.016},
        "baselines": {
            "majority": {"accuracy": 0.344, "macro_f1": 0.171},
            "few_examples": {"accuracy": 0.792, "accuracy_std": 0.041, "macro_f1": 0.78, "macro_f1_std": 0.045},
        },
        "comparison": {
            "metric": "accuracy",
            "seeds": [0, 1, 2],
            "max_pairs": 1200,
            "per_seed": {"student": [0.856, 0.871, 0.886], "few_examples": [0.744, 0.789, 0.843]},
            "train_rows": 54,
            "few_examples": 3,
            "base_model": ENCODER,
        },
        "base_models": [{"role": "base model", "name": ENCODER, "license": "apache-2.0", "license_from": "card"}],
    }


def write_run(folder: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Write the run into `folder`, with top-level keys of its report changed, and return `folder`."""
    rows = make_rows(f"few-shot:{ENCODER}") if rows is None else rows
    report = make_report(rows) | changes
    (folder / "data").mkdir(parents=True)
    (folder / "student").mkdir()
    (folder / "task.yaml").write_text(TASK)
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    (folder / "ledger.jsonl").write_text(
        '{"stage": "checks", "reason": "duplicate", "text": "a text that stays here"}\n'
    )
    (folder / "student" / "student.json").write_text(
        json.dumps(
            {"format": 1, "kind": "setfit", "base_model": ENCODER, "files": ["local.json", "model.safetensors"]}
        )
    )
    (folder / "student" / "model.safetensors").write_bytes(bytes(range(256)))
    made = Dataset.from_list(rows, features=features(list(SUBJECTS)))
    held_out = len(rows) // 10
    made.select(range(len(rows) - held_out)).to_parquet(folder / "data" / "train.parquet")
    if held_out:
        made.select(range(len(rows) - held_out, len(rows))).to_parquet(folder / "data" / "validation.parquet")
    with (folder / "rows.jsonl").open("w") as lines:
        for position, row in enumerate(rows):
            cells = {
                "subject": f"Ticket {position}",
                "body": f"{row['message']} Please answer soon.",
                "answered": "false",
            }
            kept = {"position": position, "source": row["sources"][0], "cells": cells, "columns": {"input": "body"}}
            lines.write(json.dumps(kept | {"score": row["provenance"]["score"]}) + "\n")
    return folder


def write_watched(folder: Path) -> Path:
    """Write a run whose teacher is an LLM, and whose student was watched by the callbacks; return `folder`."""
    rows = make_rows("lab/large-chat")
    teacher = {"target": "http://127.0.0.1:8080", "model": "lab/large-chat", "revision": "7a" * 20, "kind": "endpoint"}
    licensed = {"license": "apache-2.0", "license_from": "card"}
    asked = {"requests": 109, "from_journal": 12, "tokens": {"prompt": 48_210, "completion": 9_377}, "cost": 0.0412}
    asked["latency"] = {"answers": 109, "p50": 0.842, "p90": 1.43, "p99": 2.61}
    asked["command"] = make_report(rows)["command"].replace("--teacher few-shot", "--teacher http://gpu-box:8080")
    write_run(folder, rows, teacher=teacher | licensed, **asked)
    epochs = []
    for epoch, (loss, accuracy) in enumerate(((0.92, 0.55), (0.41, 0.78), (0.22, 0.91)), start=1):
        sources = {
            dataset: {"rows": count, "loss": loss * (1 + 0.3 * i), "accuracy": accuracy - 0.08 * i}
            for i, (dataset, *_, count) in enumerate(SOURCES)
        }
        epochs.append({"epoch": epoch, "step": 10 * epoch, "sources": sources})
    learner = {"learner": LEARNER}
    told = {"column": "provenance.dataset", "rows": 54, "looked_at": 54, "epochs": epochs} | learner
    points = [
        {"confidence": 0.3 + i / 80, "variability": 0.3 - i / 200, "correctness": min(i // 15, 3) / 3, "label": i % 3}
        for i in range(54)
    ]
    mapped = {
        "epochs": 3,
        "share": 0.83,
        "kept": 45,
        "rows": [p | {"kept": i >= 9} for i, p in enumerate(points)],
    } | learner
    (folder / "student" / "provenance.json").write_text(json.dumps(told))
    (folder / "student" / "cartography.json").write_text(json.dumps(mapped))
    return folder


def render_examples() -> dict[str, str]:
    """The files of `model_cards/examples/` by name."""
    from rebase_hf.publish.cards import render_dataset_card, render_student_card

    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "demo")
        (run / "student" / "model_head.pkl").touch()
        asked = write_watched(Path(folder) / "asked")
        return {
            "dataset.md": render_dataset_card(run),
            "student.md": render_student_card(run),
            "dataset-of-llm.md": render_dataset_card(asked, repo_id="acme/triage"),
            "student-watched.md": render_student_card(asked, repo_id="acme/triager", dataset_id="acme/triage"),
        }


if __name__ == "__main__":
    EXAMPLES.mkdir(parents=True, exist_ok=True)
    for name, text in render_examples().items():
        (EXAMPLES / name).write_text(text, encoding="utf-8")
