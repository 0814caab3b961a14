"""FewGen against its baselines, on questions that a language model once wrote few-shot, with the answer asked for.

The replaying teacher gives a recorded question of the behaviour with the label that the prompt asks for; whatever else
stands in the prompt has no effect, since what the model was shown then is not known. Which of the recorded questions
comes first differs from seed to seed. The test rows were written by people; those that share 13 words in a row with an
example of the task are left out, since most of the kit's examples have such twins.

generated    the student of what came out
few          the task file's 4 or 5 examples alone
whole_text   as `generated`, but each text one vector, not the difference of its options: what the letters hide
few_whole    as `few`, the same way
majority     the generated rows' most frequent label
constant     the test rows\' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import kit_task, recorded
from benchmarks.linear_student import RememberingEncoder, Rows, fit_and_predict, text_vectors
from benchmarks.methods_students import SEEDS, Made, few_examples, line, majority, run_whole, students, told
from benchmarks.option_pairs import mirrored, option_vectors, with_options
from benchmarks.paired_scores import Contender
from benchmarks.recorded_teacher import label_key, replaying
from rebase_hf import Task
from rebase_hf.quality.contamination import EvaluationGuard

TABLE = "anthropic_risk_lm"
TASKS = (
    "anthropic_corrigible_neutral_hhh",
    "anthropic_myopic_reward",
    "anthropic_one_box_tendency",
    "anthropic_self_awareness_text_model",
)
PAIRS = ("few", "constant")


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=100, help="examples asked for of each run")
    made.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    options = made.parse_args()
    encoder = RememberingEncoder()
    lines = []
    for name in options.tasks:
        lines.append(measure(kit_task(name), options.examples, encoder))
        print(lines[-1], flush=True)
        encoder.keep()
    report("methods_fewgen", made, options, lines)


def measure(task: Task, num_examples: int, encoder: RememberingEncoder) -> Line:
    """Run FewGen for one task once a seed, and train the students."""
    made = [run(task, num_examples, seed) for seed in range(SEEDS)]
    held_out = unlike_examples(task)
    paired = [with_options(task, one.rows) for one in made]
    contenders = {
        "generated": by_option(task, encoder, held_out, paired),
        "few": by_option(task, encoder, held_out, [[]] * SEEDS),
        "whole_text": students(task, text_vectors(encoder), held_out, paired),
        "few_whole": few_examples(task, text_vectors(encoder), held_out, SEEDS),
        "majority": majority(task, held_out, paired),
    }
    without = sum(len(one.rows) - len(rows) for one, rows in zip(made, paired, strict=True)) / SEEDS
    left_out = len(task.evaluation_rows()) - len(held_out)
    runs = told(made) | {"without_options": without}
    return line("fewgen", task, held_out, contenders, PAIRS, runs=runs, test_rows_left_out=left_out)


def unlike_examples(task: Task) -> list[dict[str, str]]:
    """Return the test rows that share no 13 words in a row with an example of the task; the kit's often do."""
    examples = EvaluationGuard(replace(task, examples=()), task.examples)
    return [row for row in task.evaluation_rows() if examples.overlap(task.input_text(row)) is None]


def run(task: Task, num_examples: int, seed: int) -> Made:
    """Run the method once, with the recorded questions in another order for each seed."""
    answers: dict[str, list[str]] = {label_key(task, label): [] for label in task.labels}
    for row in recorded(TABLE, task=task.name):
        answers[label_key(task, row["output"])].append(row[task.inputs[0]])
    for texts in answers.values():
        random.Random(seed).shuffle(texts)
    with replaying(answers) as server:
        return run_whole(task, None, server.url, "fewgen", num_examples=num_examples, seed=seed, options={})


def by_option(task: Task, encoder: RememberingEncoder, held_out: Rows, rows_of: Sequence[Rows]) -> Contender:
    """Train students on the task's examples and these rows by what their options differ in."""
    features, own = option_vectors(encoder), [dict(example) for example in task.examples]
    learnt = {id(rows): mirrored(task, [*own, *rows]) for rows in rows_of}
    found = {key: fit_and_predict(task, features, rows, held_out) for key, rows in learnt.items()}
    return Contender([len(rows) + len(own) for rows in rows_of], [found[id(rows)] for rows in rows_of])


if __name__ == "__main__":
    main()
