"""Put what the students' benchmarks measured into docs/students.md, and draw the curves beside it.

python -m benchmarks.students_figures            # from benchmarks/results into docs/students.md
python -m benchmarks.students_figures --check    # does docs/students.md say what they hold?
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures_page import FiguresPage, Results, between_marks, made_by
from benchmarks.students_curve import LINES, curves_picture

Lines = Sequence[Mapping[str, Any]]
CURVES = "students_active.svg"
CHECKED = {
    "raw": "raw rows",
    "checked": "checked",
    "random": "as many at random",
    "published": "as published",
    "constant": "best constant",
}
LABELLED = {
    "generated": "examples, phrases, rows",
    "rows_alone": "examples, rows",
    "few": "examples",
    "phrases": "examples, phrases",
    "gold": "as many gold rows",
    "majority": "majority",
    "constant": "best constant",
}


class StudentsPage(FiguresPage):
    """The page's figures, one mark a benchmark."""

    def filled(self, text: str, results: Results) -> str:
        """Return a document's text with each benchmark's figures between its marks."""
        for name, tell in TELLERS.items():
            if (result := results.get(f"students_{name}")) is not None:
                content = f"{tell(result['lines'])}\n\n{made_by({name: result})}"
                text = between_marks(text, name, content)
        return text

    def pictures(self, results: Results) -> dict[str, str]:
        """Return the curves of active synthesis."""
        active = results.get("students_active")
        return {} if active is None else {CURVES: curves_picture(curves_of(active["lines"]))}


def overhead_text(lines: Lines) -> str:
    """Return what training an encoder costs besides its passes, and what is to be reached."""
    rows = ["| what | measured | to reach |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| {line['what']} | {line['shown']} | {line['target'] or ''} |" for line in lines)])


def checks_text(lines: Lines) -> str:
    """Return the students of checked and of raw rows, and what the checks dropped."""
    average, behind, *tasks = lines
    others = average["details"]
    head = (
        f"{_sentence(average['what'])}: {average['shown']}. As many rows at random: {others['random']:+.4f}; "
        f"as published: {others['published']:+.4f}. {_sentence(behind['what'])}: {behind['shown']}."
    )
    scores = _scores(tasks, CHECKED, "checked")
    rows = ["| task | checked less raw, ± standard error | 95 % | rows | dropped, in the mean |", "|---" * 5 + "|"]
    for line in tasks:
        about = line["details"]
        apart, found = about["differences"]["raw"], about["scores"]
        gap = f"{apart['mean']:+.3f} ± {apart['error']:.3f} | {apart['low']:+.3f} to {apart['high']:+.3f}"
        left = f"{found['checked']['rows']:.0f} of {found['raw']['rows']:.0f}"
        rows.append(f"| {_task(line)} | {gap} | {left} | {_reasons(about['dropped'])} |")
    table = "\n".join(rows)
    return f"{head}\n\n{scores}\n\n{table}\n\n{_origins(tasks)}"


def development_text(lines: Lines) -> str:
    """Return what each check does alone, on development rows."""
    rows = ["| setting | above raw, mean over tasks | worst task, ± standard error | rows left |", "|---" * 4 + "|"]
    for line in lines:
        by_task = line["details"]["tasks"]
        worst = min(by_task, key=lambda name: by_task[name]["mean"])
        told, left = by_task[worst], sum(one["left"] for one in by_task.values()) / len(by_task)
        worst_told = f"{told['mean']:+.4f} ± {told['error']:.4f} ({worst})"
        rows.append(f"| {line['what']} | {line['details']['mean']:+.4f} | {worst_told} | {left:.1%} |")
    return "\n".join(rows)


def few_shot_text(lines: Lines) -> str:
    """Return the students of rows that the few-shot teacher labelled, and some of these rows."""
    average, *tasks = lines
    rows = ["| task | less examples (95 %) | less examples and phrases (95 %) | asked | labelled rows from |"]
    rows.append("|---" * 5 + "|")
    for line in tasks:
        about = line["details"]
        cells = [_interval(about["differences"][who]) for who in ("few", "phrases")]
        named = list(about["sources"].items())[:3]
        where = ", ".join(f"{count} {name}" for name, count in named)
        rows.append(f"| {_task(line)} | {' | '.join(cells)} | {about['runs']['asked']:.0f} | {where}, ... |")
    shown = ["Rows as they came out, drawn at random:", ""]
    for line in tasks:
        for row in line["details"]["shown"]:
            *inputs, label = row.values()
            shown.append(f"- {_task(line)}: {' / '.join(f'“{text}”' for text in inputs)} → `{label}`")
    gaps = average["details"]
    told = ", ".join(f"{_compared(name)} {found['mean']:+.3f} ± {found['error']:.3f}" for name, found in gaps.items())
    head = f"Mean over {len(tasks)} tasks, ± standard error over tasks: {told}."
    return "\n\n".join([head, _scores(tasks, LABELLED, "generated"), "\n".join(rows), "\n".join(shown)])


def _compared(name: str) -> str:
    return " less ".join(f"*{LABELLED[who]}*" for who in name.split(" less "))


def active_text(lines: Lines) -> str:
    """Return the curves, and how far one lies above another."""
    parts = [f"![Learning curves]({CURVES})"]
    for task, found in curves_of(lines).items():
        answers = next(iter(found.values()))["answers"]
        rows = [f"| {task} | {' | '.join(str(count) for count in answers)} |", "|---" * (1 + len(answers)) + "|"]
        for who, one in found.items():
            cells = [f"{mean:.3f} ± {std:.3f}" for mean, std in zip(one["mean"], one["std"], strict=True)]
            rows.append(f"| {who} | {' | '.join(cells)} |")
        parts.append("\n".join(rows))
    gaps = [f"- {line['what']}: {line['shown']}" for line in lines if " above " in line["what"]]
    return "\n\n".join([*parts, "\n".join(gaps)])


def curves_of(lines: Lines) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return task to contender to its curve."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        if "answers" in line["details"]:
            task = line["what"].partition(",")[0]
            found.setdefault(task, {})[line["key"].removeprefix(f"{task}_")] = line["details"]
    return {task: {who: by[who] for who in LINES if who in by} for task, by in found.items()}


def _scores(lines: Lines, columns: Mapping[str, str], rows_of: str) -> str:
    rows = [
        f"| task | metric | test rows | rows | {' | '.join(columns.values())} |",
        "|---" * (4 + len(columns)) + "|",
    ]
    for line in lines:
        about = line["details"]
        cells = [_score(about["scores"].get(key)) for key in columns]
        count = about["scores"][rows_of]["rows"]
        head = f"{_task(line)} | {about['metric']} | {about['test_rows']} | {count:.0f}"
        rows.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _score(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.3f} ± {found['std']:.3f}" if found["std"] else f"{found['mean']:.3f}"


def _interval(apart: Mapping[str, float]) -> str:
    return f"{apart['mean']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})"


def _origins(lines: Lines) -> str:
    rows = ["| task | recorded rows | of them test rows: marked, left out | found by the guard in a draw |"]
    rows.append("|---" * 4 + "|")
    for line in lines:
        about = line["details"]
        rows.append(
            f"| {_task(line)} | {about['source']}: {about['pool']} | {about['in_eval']} | {about['leaks']:.0f} |"
        )
    return "\n".join(rows)


def _reasons(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:.0f} {reason}" for reason, count in counts.items() if count >= 0.5)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _task(line: Mapping[str, Any]) -> str:
    return str(line["key"]).partition(".")[2]


TELLERS = {
    "overhead": overhead_text,
    "checks": checks_text,
    "development": development_text,
    "few_shot": few_shot_text,
    "active": active_text,
}
PAGE = StudentsPage("students", "docs/students.md", {}, "")

if __name__ == "__main__":
    PAGE.main()
