"""A run's dataset for those who train elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rebase_hf.errors import RebaseError
from rebase_hf.methods.grounded_text import grounded_input, grounded_target
from rebase_hf.run_folder import read_report, read_task
from rebase_hf.task import Task

FORMATS = ("prompt-completion", "messages")


def export_dataset(folder: Path, format: str, output: Path | None) -> Path:
    """Write a run's training split as prompts and completions, or as chats.

    Raises:
        RebaseError: There is nothing to write, no such format, or the file can't be written.
    """
    if not read_report(folder).get("examples"):
        raise RebaseError(f"{folder} has no examples to export. See its ledger.jsonl for what became of its rows.")
    if format not in FORMATS:
        raise RebaseError(f"Format `{format}` is not known; use one of {', '.join(FORMATS)}.")
    task = read_task(folder)
    target = output or folder / "export" / f"{format}.jsonl"
    if target.is_dir():
        raise RebaseError(f"{target} is a folder; give a file to write, such as --output {target / format}.jsonl")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8") as file:
            file.writelines(_lines(folder, task, format))
    except OSError as error:
        raise RebaseError(f"Can't write {target}: {error}. Give another --output, or make room.") from error
    return target


def _lines(folder: Path, task: Task, format: str) -> Iterator[str]:
    for example in _examples(folder, "train"):
        prompt = f"{task.instruction}\n\n{task.input_text(example)}"
        answer = example[task.output]
        if example.get("passages") is not None:  # as the student that retrieves is trained
            prompt = grounded_input(task, example, example["passages"])
            answer = grounded_target(example["rationale"], answer)
        elif example.get("rationale"):
            answer = f"{example['rationale']}\nAnswer: {answer}"
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        record = {"messages": chat} if format == "messages" else {"prompt": prompt, "completion": answer}
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _examples(folder: Path, split: str) -> list[dict[str, Any]]:
    from datasets import ClassLabel, Dataset

    rows = Dataset.from_parquet(str(folder / "data" / f"{split}.parquet"))
    names = {name: feature.names for name, feature in rows.features.items() if isinstance(feature, ClassLabel)}
    return [{k: names[k][v] if k in names else v for k, v in row.items()} for row in rows]
