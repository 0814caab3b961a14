"""A student with a knowledge store: trained, saved, and loaded from its folder alone.

python examples/knowledge-store/make_student.py --output runs/waste-student
"""

import argparse
import json
from pathlib import Path

from rebase_hf import load_student, train_student
from rebase_hf.students.knowledge_store import build_knowledge_store

HERE = Path(__file__).parent


def main() -> None:
    """Build the store, train the student, and ask what was saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="the student's folder")
    parser.add_argument("--base-model", help="what writes; default google/flan-t5-small")
    parser.add_argument(
        "--encoder", help="what the reranker and the store's vectors start from; default all-MiniLM-L6-v2"
    )
    parser.add_argument("--max-pairs", type=int, default=1200, help="how many rows the student is shown")
    given = parser.parse_args()

    # Rows as method `kard` makes them: a question, its answer, and what a teacher wrote to get there.
    rows = [json.loads(line) for line in (HERE / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    store = build_knowledge_store(given.output, rows, license="apache-2.0", encoder=given.encoder)
    train_student(
        HERE / "task.yaml",
        rows,
        kind="grounded",
        index=store,
        reranker_model=given.encoder,
        base_model=given.base_model,
        max_pairs=given.max_pairs,
        output_dir=given.output,
    )

    student = load_student(given.output)  # no index is named: the knowledge lies in the folder
    [found] = student.predict_with_evidence(["a wine glass with a crack"])
    print(f"answer: {found.answer}, votes: {dict(found.votes)}")
    for passage in found.passages:
        print(f"read: {passage.text} ({passage.source.license})")


if __name__ == "__main__":
    main()
