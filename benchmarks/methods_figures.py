"""Put what the methods' benchmarks measured, and the options of the methods, into docs/methods.md.

python -m benchmarks.methods_figures            # from benchmarks/results and the methods' classes into docs/methods.md
python -m benchmarks.methods_figures --check    # does docs/methods.md say what they hold?
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures_page import FiguresPage, Results, between_marks, made_by
from benchmarks.methods_options import options_text

Lines = Sequence[Mapping[str, Any]]
# The columns of each method's table: a contender, and what it is headed by.
COLUMNS = {
    "synthesizrr": {
        "generated": "its data",
        "few": "few examples",
        "seeds": "seeds",
        "seeds_too": "its data and seeds",
        "random": "random documents",
        "gold": "as many gold rows",
        "majority": "majority",
        "constant": "best constant",
    },
    "fewgen": {
        "generated": "its data",
        "few": "few examples",
        "majority": "majority",
        "constant": "best constant",
        "whole_text": "its data, whole text",
        "few_whole": "few examples, whole text",
    },
    "retrieved": {
        "generated": "its data",
        "few": "few examples",
        "gold": "as many gold rows",
        "majority": "majority",
        "constant": "best constant",
    },
}
AGAINST = {
    "synthesizrr": {"few": "few", "seeds": "seeds", "random": "random"},
    "fewgen": {"few": "few"},
    "retrieved": {"few": "few"},
}


class MethodsPage(FiguresPage):
    """The page's figures by method, and the tables of options."""

    def filled(self, text: str, results: Results) -> str:
        """Return a document's text with the figures and the options between their marks."""
        return between_marks(FiguresPage.filled(self, text, results), "options", options_text())

    def table(self, results: Results) -> str:
        """Return the figures as Markdown."""
        parts = []
        for name, tell in TELLERS.items():
            if (result := results.get(f"methods_{name}")) is not None:
                parts.append(tell(name, result["lines"]))
        return "\n\n".join([*parts, made_by(results)])


def scores_text(name: str, lines: Lines) -> str:
    """Return one method's scores, their differences, and what became of what was asked, as tables."""
    scored = [line for line in lines if "scores" in line["details"]]
    tables = [_scores(name, scored), _differences(name, scored), _outcomes(scored)]
    return "\n\n".join([f"### `{name}`", _in_short(scored), *tables])


def retrieved_text(name: str, lines: Lines) -> str:
    """Return what `retrieved` yields, and for which tasks it yields too little."""
    enough = next(line for line in lines if line["key"] == "retrieved.enough")
    none = ", ".join(f"`{task}` ({found['examples']:.0f})" for task, found in enough["details"]["too_few"].items())
    yields = f"{enough['shown']} get {enough['what'].removeprefix('retrieved: ')}."
    return f"{scores_text(name, lines)}\n\n{yields} Fewer, or of one label alone, get: {none}."


def kard_text(name: str, lines: Lines) -> str:
    """Return how many rationales KARD keeps, and how far apart question and rationale find passages."""
    measured = ("kept", "recall@1", "recall@10")
    rows = ["| teacher | rationales kept of 100 | recall@1 | recall@10 |", "|---|---|---|---|"]
    for line in lines:
        found = line["details"]["scores"]
        cells = [f"{found[one]['mean']:.{_digits(one)}f} ± {found[one]['std']:.{_digits(one)}f}" for one in measured]
        rows.append(f"| {line['details']['teacher']} | {' | '.join(cells)} |")
    return "\n".join([f"### `{name}`", "", *rows])


def _digits(measure: str) -> int:
    return 1 if measure == "kept" else 3


def _in_short(lines: Lines) -> str:
    said = Counter(_verdict(line) for line in lines)
    return f"Of {len(lines)} tasks: {', '.join(f'{count} {what}' for what, count in said.most_common())}."


def _verdict(line: Mapping[str, Any]) -> str:
    differences = line["details"]["differences"]
    return verdict(differences["few"], differences["constant"])


def _scores(name: str, lines: Lines) -> str:
    columns = {key: head for key, head in COLUMNS[name].items() if any(key in _found(line) for line in lines)}
    rows = [
        f"| task | metric | test rows | rows | {' | '.join(columns.values())} |",
        "|---" * (4 + len(columns)) + "|",
    ]
    for line in lines:
        about, found = line["details"], _found(line)
        cells = [_score(found.get(key)) for key in columns]
        head = f"{_task(line)} | {about['metric']} | {about['test_rows']} | {found['generated']['rows']:.0f}"
        rows.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _differences(name: str, lines: Lines) -> str:
    against = AGAINST[name]
    heads = [f"less {COLUMNS[name][key]} (95 %) | error" for key in against]
    rows = [f"| its data, {' | '.join(heads)} | |", "|---" * (2 + 2 * len(against)) + "|"]
    for line in lines:
        found = [line["details"]["differences"][key] for key in against]
        cells = [f"{d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}) | {d['error']:.3f}" for d in found]
        rows.append(f"| {_task(line)} | {' | '.join(cells)} | {_verdict(line)} |")
    return "\n".join(rows)


def verdict(difference: Mapping[str, float], constant: Mapping[str, float]) -> str:
    """Return in words what a method's differences from few examples, and from the best constant, say.

    A difference counts where its interval leaves zero out.
    """
    if constant["low"] <= 0:
        return "not shown to be above a constant answer"
    if difference["low"] > 0:
        return "ahead of few examples"
    return "behind few examples" if difference["high"] < 0 else "no difference from few examples shown"


def _outcomes(lines: Lines) -> str:
    rows = ["| a run, in the mean | asked | examples | not asked | dropped |", "|---|---|---|---|---|"]
    for line in lines:
        runs = line["details"]["runs"]
        named = {key: run for key, run in runs.items() if isinstance(run, Mapping) and "asked" in run}
        for key, run in (named or {"": runs}).items():
            head = f"{_task(line)}{f', {key}' if key else ''}"
            told = " | ".join(_reasons(run[part]) for part in ("dropped_before", "dropped"))
            rows.append(f"| {head} | {run['asked']:.0f} | {run['examples']:.0f} | {told} |")
    return "\n".join(rows)


def _reasons(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:.0f} {reason}" for reason, count in sorted(counts.items(), key=lambda c: -c[1]))


def _found(line: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = line["details"]["scores"]
    return found


def _score(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.3f} ± {found['std']:.3f}" if found["std"] else f"{found['mean']:.3f}"


def _task(line: Mapping[str, Any]) -> str:
    return str(line["key"]).partition(".")[2]


TELLERS = {"synthesizrr": scores_text, "fewgen": scores_text, "retrieved": retrieved_text, "kard": kard_text}
PAGE = MethodsPage("methods", "docs/methods.md", {}, "")

if __name__ == "__main__":
    PAGE.main()
