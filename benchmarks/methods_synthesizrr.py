"""SynthesizRR against its baselines, on rewrites that GPT-4 once wrote of human texts for a label.

The documents are the human texts; each was rewritten for one label only, that which people had given it. So the
replaying teacher has an answer where a document that retrieval finds happens to have the label asked for, and an
empty text elsewhere, which is dropped: about one draft in as many as there are labels is answered.

generated    the student of what came out
random       the same with documents drawn at random (`retriever=random`): what retrieval by seed brings; where one
             of the two has fewer rows, both learn from as many
seeds        the human-labelled rows that the method started from, alone; with the generated ones: seeds_too
few          what the task file says: its examples and label phrases
gold         as many human-labelled rows as were generated: what the same number of labels would buy
majority     the generated rows' most frequent label
constant     the test rows\' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import kit_task, recorded, write_source
from benchmarks.linear_student import RememberingEncoder, Rows, text_vectors
from benchmarks.loopback_server import Serving
from benchmarks.methods_students import (
    SEEDS,
    Made,
    drawn,
    few_examples,
    line,
    majority,
    run_whole,
    students,
    told,
)
from benchmarks.paired_scores import Contender
from benchmarks.recorded_teacher import document_key, replaying
from rebase_hf import RowIndex, Task
from rebase_hf.methods.seeds import by_label, train_seeds

TEACHER = "gpt-4"
TABLES = {
    "hypo_l": "worker_vs_gpt_hypo_l",
    "question_intimacy": "worker_vs_gpt_question_intimacy",
    "ten_dim": "worker_vs_gpt_ten_dim",
    "crowdflower_emotion": "worker_vs_gpt_crowdflower",
    "hate_speech_da": "worker_vs_gpt_hate_speech_da",
}
ABOUT = "Short texts that people wrote online."
# Of single sentences: the paper's 20 to 400 tokens and similarity .4 to .9 are made for news articles.
OPTIONS: Mapping[str, Any] = {
    "seeds": "train",
    "seeds_per_label": 10,
    "context_tokens": (1, 400),
    "ranks": (1, 100),
}
# Documents drawn at random have no range: the method refuses to be given one for them.
RANGES: Mapping[str, Any] = {"similarity": (0.0, 0.95), "shot_similarity": (0.0, 0.95)}
PAIRS = ("few", "seeds", "random", "gold", "constant")


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=200, help="examples asked for of each run")
    made.add_argument("--tasks", nargs="+", default=list(TABLES), choices=list(TABLES))
    options = made.parse_args()
    encoder = RememberingEncoder()
    lines = []
    for name in options.tasks:
        lines.append(measure(name, options.examples, encoder))
        print(lines[-1], flush=True)
        encoder.keep()
    report("methods_synthesizrr", made, options, lines)


def measure(name: str, num_examples: int, encoder: RememberingEncoder) -> Line:
    """Run SynthesizRR for one task, with and without retrieval, once a seed, and train the students."""
    task = kit_task(name, train=True)
    answers, documents = rewrites(task, TABLES[name])
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder, replaying(answers) as server:
        rows = [{"text": text} for text in documents]
        source = write_source(Path(folder, "short_texts"), rows, ABOUT, language=task.language)
        index = RowIndex.build(Path(folder, "index"), [source], encoder=encoder, words=False)
        dense = [run(task, index, server, num_examples, seed, "dense") for seed in range(SEEDS)]
        random = [run(task, index, server, num_examples, seed, "random") for seed in range(SEEDS)]
        published = run(task, index, server, num_examples, 0, "dense", similarity=(0.4, 0.9))
    held_out = task.evaluation_rows()
    contenders = trained(task, held_out, encoder, dense, random)
    runs = {"dense": told(dense), "random": told(random), "similarity 0.4 to 0.9": told([published])}
    about = {"documents": len(documents), "teacher": TEACHER}
    return line("synthesizrr", task, held_out, contenders, PAIRS, runs=runs, **about)


def rewrites(task: Task, table: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the recorded answers by what is asked for, and the documents that they were written from."""
    answers: dict[str, list[str]] = {}
    documents: dict[str, None] = {}
    for row in recorded(table, teacher=TEACHER):
        document = json.loads(row["source"])["text"]
        documents[document] = None
        answers.setdefault(document_key(task, row["output"], document, OPTIONS["context_tokens"][1]), []).append(
            row["text"]
        )
    return answers, list(documents)


def run(
    task: Task, index: RowIndex, server: Serving, num_examples: int, seed: int, retriever: str, **others: Any
) -> Made:
    """Run the method once."""
    options = {**OPTIONS, **({} if retriever == "random" else RANGES), "retriever": retriever, **others}
    return run_whole(task, index, server.url, "synthesizrr", num_examples=num_examples, seed=seed, options=options)


def trained(
    task: Task, held_out: Rows, encoder: RememberingEncoder, dense: Sequence[Made], random: Sequence[Made]
) -> dict[str, Contender]:
    """Train the students of all contenders."""
    features, gold = text_vectors(encoder), task.train_rows()
    counts = [min(len(one.rows), len(other.rows)) for one, other in zip(dense, random, strict=True)]
    generated = [one.rows[:count] for one, count in zip(dense, counts, strict=True)]
    at_random = [one.rows[:count] for one, count in zip(random, counts, strict=True)]
    seeds = [seed_rows(task, seed) for seed in range(SEEDS)]
    both = [[*rows, *own] for rows, own in zip(generated, seeds, strict=True)]
    as_many = [drawn(gold, count, seed) for seed, count in enumerate(counts)]

    def of(rows: Sequence[Rows]) -> Contender:
        return students(task, features, held_out, rows)

    return {
        "generated": of(generated),
        "seeds_too": of(both),
        "random": of(at_random),
        "seeds": of(seeds),
        "few": few_examples(task, features, held_out, SEEDS),
        "gold": of(as_many),
        "majority": majority(task, held_out, generated),
    }


def seed_rows(task: Task, seed: int) -> list[Mapping[str, str]]:
    """Return the human-labelled rows that a run with this seed starts from."""
    held = by_label(task, train_seeds(task), OPTIONS["seeds_per_label"], seed)
    return [one.fields for seeds in held.values() for one in seeds]


if __name__ == "__main__":
    main()
