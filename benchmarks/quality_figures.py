"""Put what the checks remove, and how often that is right, into docs/data-quality.md.

python -m benchmarks.quality_figures            # from benchmarks/results into docs/data-quality.md
python -m benchmarks.quality_figures --check    # does docs/data-quality.md say what they hold?
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures_page import FiguresPage, Results, between_marks, made_by

Lines = Sequence[Mapping[str, Any]]
# The checks in the order in which a run applies them, each with what a reader was asked.
ASKED = {
    "teacher_declined": "is it a refusal to answer",
    "label_not_in_task": "is the output no label of the task",
    "too_short": "is it of no use as an example",
    "too_long": "is it of no use as an example",
    "other_language": "is it in another language, and of no use for it",
    "evaluation_equal": "is it a test row's own text",
    "evaluation_run": "13 words in a row: are they what a test row says, not the form of such texts",
    "evaluation_inside": "a short test text within it: is it that test row's text",
    "evaluation_near": "nearly the words of a test row: does it give that row away",
    "few_shot_copy": "does it say what the example says",
    "duplicate_exact": "does it say what the earlier row says",
    "duplicate_near": "nearly the words of an earlier row: is there next to nothing new in it",
    "semantic_copy": "does it say what the example says, in other words",
    "semantic_duplicate": "does it say what the earlier row says, in other words",
    "near_evaluation_set": "does it give away the test row that it is like",
    "label_contradicted": "is its label wrong, or open to real doubt",
    "hard_to_learn": "is its label wrong, or open to real doubt",
}
ON_REQUEST = {
    "semantic_copy": "`semantic_duplicates=0.95`",
    "semantic_duplicate": "`semantic_duplicates=0.95`",
    "near_evaluation_set": "`similar_to_evaluation=0.95`",
    "label_contradicted": "`contradicted_odds=3`",
    "hard_to_learn": "`cartography=0.83`",
}
BESIDE = "Left out for a share, which is no verdict on a row:"
KNOWN = (
    "Where the right answer is known: labels that are wrong, of all rows that the map looked at and of those that it "
    "takes out (none where its learner knows too little to contradict):"
)


class QualityPage(FiguresPage):
    """The page's figures, one mark a benchmark."""

    def filled(self, text: str, results: Results) -> str:
        """Return a document's text with each benchmark's figures between its marks."""
        for name, tell in TELLERS.items():
            if (result := results.get(f"quality_{name}")) is not None:
                content = f"{tell(result['lines'])}\n\n{made_by({name: result})}"
                text = between_marks(text, name, content)
        return text


def removed_text(lines: Lines) -> str:
    """Return what the checks take out of each task's rows, and what is told by rows whose truth is known."""
    (everything, marked), tasks = lines[:2], lines[2:]
    rows = ["| task | rows | runs | kept | taken out, by reason |", "|---" * 5 + "|"]
    for line in tasks:
        about = line["details"]
        rows.append(
            f"| {_task(line)} | {about['rows']} | {about['runs']} | {about['kept']} | {_reasons(about['removed'])} |"
        )
    rows.append(f"| all | | | | {_reasons(everything['details'])} |")
    found = sum(line["details"]["marked"]["others_found"] for line in tasks)
    head = (
        f"Rows taken out: {everything['shown']}. Of the rows that the kit marks as test rows, {marked['shown']} stay; "
        f"{found} more are taken out for the test set. Rows without an output that can be read, which no check sees: "
        f"{sum(line['details']['unread'] for line in tasks)}."
    )
    return "\n\n".join([head, "\n".join(rows), BESIDE, beside_text(tasks), KNOWN, known_text(tasks)])


def beside_text(tasks: Lines) -> str:
    """Return what is left out for shares, which is no verdict on a row."""
    rows = ["| task | `cartography=0.83` | `label_share` of 1.5 equal shares | `balance=true` |", "|---" * 4 + "|"]
    for line in tasks:
        if beside := line["details"]["beside"]:
            cells = (beside.get(reason, 0) for reason in ("hard_to_learn", "label_full", "label_surplus"))
            rows.append(f"| {_task(line)} | {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def known_text(tasks: Lines) -> str:
    """Return how many labels are wrong where that is known."""
    rows = ["| task | wrong labels of all looked at | of those contradicted | of those hard to learn |"]
    rows.append("|---" * 4 + "|")
    for line in tasks:
        if known := line["details"]["known"]:
            cells = (_share(known.get(name)) for name in ("looked at", "label_contradicted", "hard_to_learn"))
            rows.append(f"| {_task(line)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def precision_text(lines: Lines) -> str:
    """Return how often each check is right, and what is wrong with rows that stay."""
    by_check = {line["key"]: line for line in lines}
    rows = [
        "| check | asked of each row | taken out | read | right | wrong | unclear | precision (95 %) | weighted | |"
    ]
    rows.append("|---" * 10 + "|")
    for check, asked in ASKED.items():
        if (line := by_check.get(check)) is not None:
            about = line["details"]
            reached = {True: "reached", False: "**missed**", None: "on request"}[line["met"]]
            counts = " | ".join(str(about[name]) for name in ("rows", "read", "right", "wrong", "unclear"))
            share = f"{about['right'] / about['read']:.2f} ({about['low']:.2f} to {about['high']:.2f})"
            rows.append(f"| {_check(check)} | {asked} | {counts} | {share} | {about['weighted']:.2f} | {reached} |")
    wrong = [
        f"- `{check}`: {_reasons(by_check[check]['details']['why'])}"
        for check in ASKED
        if check in by_check and by_check[check]["details"]["why"]
    ]
    return "\n\n".join(["\n".join(rows), "\n".join(["Where not right:", "", *wrong]), kept_text(by_check["kept"])])


def kept_text(line: Mapping[str, Any]) -> str:
    """Return what was found in rows that stay."""
    about = line["details"]
    return (
        f"Of {about['read']} rows that all checks let through, {about['right']} are without such a fault "
        f"({about['low']:.0%} to {about['high']:.0%}; weighted {about['weighted']:.0%}), {about['wrong']} have one, "
        f"{about['unclear']} are unclear: {_reasons(about['why'])}."
    )


def _check(name: str) -> str:
    return f"`{name}`, {ON_REQUEST[name]}" if name in ON_REQUEST else f"`{name}`"


def _share(counts: Sequence[int] | None) -> str:
    if not counts:
        return "none"
    wrong, of = counts
    return f"{wrong} of {of} ({wrong / of:.1%})"


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _task(line: Mapping[str, Any]) -> str:
    return str(line["key"]).partition(".")[2]


TELLERS = {"removed": removed_text, "precision": precision_text}
PAGE = QualityPage("quality", "docs/data-quality.md", {}, "")

if __name__ == "__main__":
    PAGE.main()
