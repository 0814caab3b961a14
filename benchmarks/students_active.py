"""Active against static synthesis at equal numbers of teacher answers: the student's learning curve.

Needs REBASE_KIT. The pool is what language models wrote for three of its tasks (`recorded/worker_vs_gpt_*`): its texts
are an index without labels, and the teacher's answer about a row is the label recorded for it. The student is a linear
head on the default encoder, which stays as it is. All learn from the task's examples and the answers:

    static        rows by ReBase's own score, in one run
    random        rows of the pool at random: what choosing at all is worth
    active        rounds of `ActiveSynthesis`; the student is asked about the rows that it has, each by a head that did
                  not learn from it, so that no label is used that static has not
    development   the same, asked about 100 human rows of the task, from which it does not learn
    static+human  static, which learns from these 100 rows too: what their labels are worth otherwise

Each seed draws another part of the pool and other human rows. Every answer counts, one that became no row as well.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.asking import own_home
from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import kit_task, recorded, write_source
from benchmarks.linear_student import RememberingEncoder
from benchmarks.paired_scores import Contender, compared
from benchmarks.pool_teacher import NUMBER, answering, row_number
from rebase_hf import RowIndex, Task
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.rows import source_address
from rebase_hf.setfit_training import add_missing_labels, new_head
from rebase_hf.students.active import ActiveSynthesis
from rebase_hf.students.active_round import ActiveSettings
from rebase_hf.students.metrics import score
from rebase_hf.students.row_figures import RowFigures
from rebase_hf.students.setfit_figures import figures_of

# Task of the kit: table of recorded answers, and whose.
TASKS = {
    "ten_dim": ("worker_vs_gpt_ten_dim", "gpt-3.5-turbo"),
    "crowdflower_emotion": ("worker_vs_gpt_crowdflower", "gpt-4"),
    "question_intimacy": ("worker_vs_gpt_question_intimacy", "gpt-4"),
}
FOLDS = 5
Rows = list[dict[str, str]]
OPTIONS = {"max_per_source": 0}  # the pool is one source
# Every answer becomes a row, so that answers can be counted by rows; texts that repeat each other are not asked about.
CHECKS = CheckOptions(near_duplicates=None, refusals=False, length_factor=None, language=False)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--answers", type=int, default=50, help="answers of a round")
    made.add_argument("--rounds", type=int, default=8, help="rounds, the first of which is static for all")
    made.add_argument("--pool", type=int, default=1500, help="rows of the pool that a seed draws")
    made.add_argument("--human", type=int, default=100, help="human rows that `development` is asked about")
    options = made.parse_args()
    encoder = RememberingEncoder()
    lines = [line for task in TASKS for line in task_lines(task, encoder, options)]
    encoder.keep()
    report("students_active", made, options, lines)


def task_lines(name: str, encoder: RememberingEncoder, options: argparse.Namespace) -> list[Line]:
    task, held = kit_task(name), kit_task(name).evaluation_rows()
    student = Student(task, encoder)
    learnt: dict[str, list[list[Rows]]] = {}
    for seed in range(options.seeds):
        for contender, rows in contenders_of(name, student, encoder, options, seed).items():
            learnt.setdefault(contender, []).append(rows)
    curves = {who: [student.curve(points, held) for points in seeds] for who, seeds in learnt.items()}
    said = {
        who: Contender([len(rows[-1]) for rows in seeds], [student.predict(rows[-1], held) for rows in seeds])
        for who, seeds in learnt.items()
    }
    end = compared(task, held, {"active": said.pop("active"), **said}, list(said))
    answers = [options.answers * (step + 1) for step in range(options.rounds)]
    lines = [curve_line(name, task, who, answers, curves[who]) for who in curves]
    pairs = (("active", "static"), ("active", "random"), ("development", "static"), ("development", "static+human"))
    lines += [area_line(name, task, who, other, curves) for who, other in pairs]
    shown = ", ".join(f"{who} {told['mean']:.3f}" for who, told in end["scores"].items())
    return [*lines, Line(f"{name}_end", f"{name}, {task.metric}: after the last answer", shown, details=end)]


def contenders_of(
    name: str, student: "Student", encoder: RememberingEncoder, options: argparse.Namespace, seed: int
) -> dict[str, list[Rows]]:
    """Return for each contender the rows that it has after each round."""
    task = student.task
    chance = np.random.default_rng(seed)
    pool = drawn_pool(name, options.pool, chance)
    gold = kit_task(name, train=True).train_rows()
    human = [gold[row] for row in chance.permutation(len(gold))[: options.human]]
    total = options.answers * options.rounds
    with own_home(), answering(pool) as server, tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        rows = [{"text": text, NUMBER: row_number(place)} for place, (text, _) in enumerate(pool)]
        source = write_source(Path(folder) / "texts", rows, "Texts that people wrote online.", language="en")
        index = RowIndex.build(Path(folder) / "index", [source], encoder=encoder)
        run = Run(make_plan(task, index, server.url, num_examples=total, options=OPTIONS, checks=CHECKS))
        static = list(run.examples())
        first = [dict(example.fields) for example in static[: options.answers]]
        sources = [source_address(example.provenance) for example in static[: options.answers]]
        given = (student, index, server.url, first, sources, options, seed)
        active, development = rounds(*given, None), rounds(*given, human)
    taken = [dict(example.fields) for example in static]
    steps = [options.answers * (step + 1) for step in range(options.rounds)]
    shuffled = [dict(zip(task.fields, pool[row], strict=True)) for row in chance.permutation(len(pool))[:total]]
    return {
        "static": [taken[:step] for step in steps],
        "random": [shuffled[:step] for step in steps],
        "active": active,
        "development": development,
        "static+human": [[*taken[:step], *human] for step in steps],
    }


def drawn_pool(name: str, size: int, chance: np.random.Generator) -> list[tuple[str, str]]:
    """Return texts with the label recorded for them, each text once."""
    table, teacher = TASKS[name]
    known = {row["text"]: row["output"] for row in recorded(table, teacher=teacher) if row["text"].strip()}
    texts = list(known)
    return [(texts[row], known[texts[row]]) for row in chance.permutation(len(texts))[:size]]


def rounds(
    student: "Student",
    index: RowIndex,
    url: str,
    first: Rows,
    sources: Sequence[str],
    options: argparse.Namespace,
    seed: int,
    human: Rows | None,
) -> list[Rows]:
    """Return the rows after each round of active synthesis, of as many answers as static has."""
    settings = ActiveSettings(10**6, options.answers, min_gain=None, seed=seed)
    active = ActiveSynthesis(student.task, index, url, settings, options=OPTIONS, checks=CHECKS)
    points = [list(first)]
    for _ in range(options.rounds - 1):
        rows = points[-1]
        figures = student.cross_fitted(rows, seed) if human is None else student.says(rows, human)
        taken = active.ask(figures, rows if human is None else human, rows, sources)
        if taken.asked != options.answers:
            raise SystemExit(f"{taken.asked} answers in a round of {options.answers}: {dict(taken.dropped)}")
        active.accept(taken)
        points.append([*rows, *(dict(example.fields) for example in taken.examples)])
    return points


class Student:
    """A linear head on an encoder's vectors, fitted to rows and the task's examples; a label without a row is learnt
    from its phrase."""

    def __init__(self, task: Task, encoder: RememberingEncoder) -> None:
        self.task, self._encoder = task, encoder
        self.labels = list(task.labels)

    def probabilities(self, rows: Rows, asked: Rows) -> np.ndarray:
        """Return the probability of each of the task's labels, (rows asked about, labels)."""
        known = [*({n: e[n] for n in self.task.fields} for e in self.task.examples), *rows]
        texts = [self.task.input_text(row) for row in known]
        texts, labels = add_missing_labels(texts, [row[self.task.output] for row in known], self.task.labels)
        head = new_head().fit(self._encoder.encode(texts), labels)
        said = head.predict_proba(self._encoder.encode([self.task.input_text(row) for row in asked]))
        return np.asarray(said[:, [list(head.classes_).index(label) for label in self.labels]])

    def predict(self, rows: Rows, asked: Rows) -> np.ndarray:
        """Return the places of the likeliest labels."""
        return self.probabilities(rows, asked).argmax(axis=1)

    def says(self, rows: Rows, asked: Rows) -> RowFigures:
        """Return what the student of `rows` says of labelled rows."""
        return figures_of(self.probabilities(rows, asked), self._numbers(asked))

    def cross_fitted(self, rows: Rows, seed: int) -> RowFigures:
        """Return what is said of each row by a student that did not learn from it."""
        fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
        said = np.zeros((len(rows), len(self.labels)))
        for number in range(FOLDS):
            asked = np.flatnonzero(fold == number).tolist()
            others = [rows[row] for row in np.flatnonzero(fold != number).tolist()]
            said[asked] = self.probabilities(others, [rows[row] for row in asked])
        return figures_of(said, self._numbers(rows))

    def curve(self, points: Sequence[Rows], held: Rows) -> list[float]:
        """Return the task's metric on held-out rows after each round."""
        own = [row[self.task.output] for row in held]
        told = ([self.labels[place] for place in self.predict(rows, held)] for rows in points)
        return [score(self.task, said, own)[self.task.metric] for said in told]

    def _numbers(self, rows: Rows) -> np.ndarray:
        return np.array([self.labels.index(row[self.task.output]) for row in rows])


def curve_line(name: str, task: Task, who: str, answers: Sequence[int], curves: Sequence[Sequence[float]]) -> Line:
    means = [statistics.fmean(point) for point in zip(*curves, strict=True)]
    spread = [statistics.stdev(point) for point in zip(*curves, strict=True)]
    places = [place for place, count in enumerate(answers) if count in (answers[0], answers[-1] // 2, answers[-1])]
    shown = ", ".join(f"{means[p]:.3f} ± {spread[p]:.3f} at {answers[p]}" for p in places)
    told = {"answers": list(answers), "mean": means, "std": spread, "by_seed": [list(curve) for curve in curves]}
    return Line(f"{name}_{who}", f"{name}, {task.metric}: {who}", shown, details=told)


def area_line(name: str, task: Task, who: str, other: str, curves: Mapping[str, Any]) -> Line:
    """Return how far one curve lies above another, on average over the rounds after the first, over seeds."""
    pairs = zip(curves[who], curves[other], strict=True)
    gaps = [statistics.fmean(a - b for a, b in zip(mine[1:], theirs[1:], strict=True)) for mine, theirs in pairs]
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    shown = f"{statistics.fmean(gaps):+.3f} ± {error:.3f} (standard error)"
    what = f"{name}, {task.metric}: {who} above {other}, mean over the curve"
    return Line(f"{name}_{who}_{other}", what, shown, details={"by_seed": gaps})


if __name__ == "__main__":
    main()
