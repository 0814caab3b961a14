"""What a run has to say of itself: who labelled, where its rows went, and what a user must know."""

from collections.abc import Mapping
from typing import Any

from rebase_hf.public_text import markdown, public, public_name
from rebase_hf.publish.finished_run import FinishedRun, Source
from rebase_hf.publish.teacher_terms import TeacherLicense, few_shot_base


def teacher_line(report: Mapping[str, Any]) -> str | None:
    """Return the teacher's model and revision, in Markdown."""
    teacher = report.get("teacher") or {}
    if not teacher.get("model") or teacher.get("kind") == "none":
        return None
    name = f"`{public_name(str(teacher['model'])).replace('`', '')}`"
    revision = f" at revision `{str(teacher['revision'])[:12]}`" if teacher.get("revision") else ""
    return f"{name}{revision}"


def teacher_terms(report: Mapping[str, Any]) -> str | None:
    """Return what is known of the teacher's licence and its terms on outputs, in Markdown; None where nobody taught.

    Of the few-shot teacher it is the licence of the encoder that it was trained from.
    """
    teacher = report.get("teacher") or {}
    if not teacher.get("model") or teacher.get("kind") == "none":
        return None
    said = TeacherLicense.of(report).sentence()
    if teacher.get("kind") == "few-shot":
        encoder = few_shot_base(teacher).replace("`", "")
        return f"It was trained on the task's examples from `{encoder}`, and only labels. {said}"
    return said


def funnel(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages from retrieved to accepted: name, count, what left (by reason), and the sum that must hold."""
    stages: list[dict[str, Any]] = []
    before, dropped = report.get("dropped_before") or {}, report.get("dropped") or {}
    quarantined = int(report.get("quarantined") or 0)
    if report.get("retrieved"):
        name = str(report.get("asks_about") or "retrieved rows").removesuffix(" rows")
        parts = {"asked about": report["asked"], "left out": sum(before.values())}
        total = _sum(report["retrieved"], name, parts)
        stages.append({"name": name, "count": report["retrieved"], "left": _by_count(before), "sum": total})
    if report.get("asked") is not None:
        stages.append({"name": "asked about", "count": report["asked"], "left": {}, "sum": ""})
    if report.get("outputs") is not None:
        parts = {"examples": report["examples"], "dropped": sum(dropped.values()), "quarantined": quarantined}
        reasons = report.get("quarantined_reasons") or ({"quarantined": quarantined} if quarantined else {})
        left = _by_count(dropped) | {f"quarantined: {reason}": n for reason, n in _by_count(reasons).items()}
        left = {name.replace("quarantined: quarantined", "quarantined"): n for name, n in left.items()}
        stages.append(
            {
                "name": "outputs",
                "count": report["outputs"],
                "left": left,
                "sum": _sum(report["outputs"], "outputs", parts),
            }
        )
    return [*stages, {"name": "examples", "count": report["examples"], "left": {}, "sum": ""}]


def no_sources(report: Mapping[str, Any]) -> str:
    """Return why no dataset is named, of a run whose examples came from none."""
    if not report.get("examples"):
        return "No example was made, so no row of a dataset is in it."
    return "No row was retrieved: the teacher wrote every example from the task alone."


def diversity_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what a run's diversity report says: measure, value, and how it is read."""
    found = report.get("diversity")
    if not found:
        return []
    bleu, distinct, names = found["self_bleu"], found["distinct"], found["entities"]["name"]
    rows = [
        (
            "self-BLEU-2 / -4",
            f"{bleu['2']:.3f} / {bleu['4']:.3f}",
            "of each text against all others; lower is more varied",
        ),
        (
            "distinct-1 / -2",
            f"{distinct['1']:.3f} / {distinct['2']:.3f}",
            "share of different words and pairs of words",
        ),
        (
            "unique texts",
            f"{found['unique_share']:.1%}",
            f"ROUGE-L below {found['unique_below']:g} with all kept before",
        ),
        ("entropy of names", f"{names['entropy']:.2f}", f"{names['kinds']:,} capitalised names, told by patterns"),
    ]
    if found.get("sources"):
        count, effective = found["sources"]["kinds"], found["sources"]["effective"]
        rows.append(
            ("effective sources", f"{effective:.1f}", f"of {count:,}: as many of equal share have its entropy")
        )
    if found.get("pairwise_similarity") is not None:
        rows.append(
            ("similarity of two texts", f"{found['pairwise_similarity']:.3f}", "mean cosine; lower is more varied")
        )
    if found.get("evaluation"):
        near = found["evaluation"]
        told = f"mean cosine with the nearest of {near['rows']:,} evaluation texts"
        rows.append(("similarity to the evaluation", f"{near['nearest']:.3f}", told))
        rows.append(
            (
                "MAUVE to the evaluation",
                f"{near['mauve']:.3f}",
                "1 is as the evaluation texts; nothing was chosen by it",
            )
        )
    return rows


def dataset_limits(folder: FinishedRun) -> list[str]:
    """Return what a user of the dataset must know, in sentences."""
    limits = []
    if folder.is_self_training:
        limits.append(
            "**Self-training.** No LLM was asked: a small model trained on the task's "
            f"{len(folder.task.examples)} examples labelled the retrieved rows, and the rows it was sure about were "
            "kept. Its mistakes are in the labels, and hard cases are under-represented."
        )
    limits.append(_unchecked(folder))
    rows, datasets = sum(folder.split_sizes.values()), _rows_by_dataset(folder.sources)
    if datasets and (len(datasets) < 4 or max(datasets.values()) > rows / 2):
        name, count = max(datasets.items(), key=lambda item: item[1])
        number = f"{len(datasets)} dataset{'s' * (len(datasets) > 1)}"
        limits.append(
            f"**Few sources.** {number}; {markdown(name)} alone gave {count:,} of {rows:,} rows. "
            "What holds for these sources may not hold for other texts."
        )
    found = folder.report.get("labels") or {}
    if missing := [label for label in folder.task.labels if found and not found.get(label)]:
        limits.append(f"**Labels without an example:** {', '.join(markdown(label) for label in missing)}.")
    if folder.report.get("stopped"):
        statement = str(folder.report.get("statement") or folder.report["stopped"])
        limits.append(f"**It stopped early.** {markdown(public(statement), 500)}")
    terms = teacher_terms(folder.report)
    if terms and not TeacherLicense.of(folder.report).is_known:
        limits.append(f"**The teacher's terms.** {terms}")
    return limits


def _unchecked(folder: FinishedRun) -> str:
    if folder.method == "kard":
        return (
            "**Rationales were not checked by a person.** The answers are the task's own; the teacher knew them when "
            "it explained them, and an explanation that leads to the right answer may still be wrong."
        )
    if folder.method == "retrieved":
        return "**Rows were not checked by a person.** They are as their datasets have them, mapped by a rule."
    return "**Labels were not checked by a person.** They are what the teacher said, after automatic checks."


def student_limits(folder: FinishedRun) -> list[str]:
    """Return what a user of the student must know, in sentences."""
    limits = dataset_limits(folder)
    rows = (folder.report.get("evaluation") or {}).get("rows")
    if rows and rows < 1000:
        limits.append(f"**Small evaluation set.** {rows:,} rows: differences of a few hundredths mean little.")
    if folder.task.labels:
        limits.append("**It knows only its task.** A text that fits no label gets one of them all the same.")
    return limits


def _rows_by_dataset(sources: tuple[Source, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for source in sources:
        counts[source.dataset] = counts.get(source.dataset, 0) + source.rows
    return counts


def _sum(total: int, name: str, parts: Mapping[str, int]) -> str:
    text = f"{total:,} {name} = " + " + ".join(f"{count:,} {part}" for part, count in parts.items())
    missing = total - sum(parts.values())
    return text if not missing else f"{text} + {missing:,} unaccounted for"


def _by_count(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((r, n) for r, n in reasons.items() if n), key=lambda item: (-item[1], item[0])))
