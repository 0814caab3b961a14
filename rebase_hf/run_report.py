"""What `report.json` says of a run: every count computed from its decisions."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rebase_hf.errors import RebaseError
from rebase_hf.finished_set import FinishedSet, finish_set
from rebase_hf.index.index_card import shown_encoder
from rebase_hf.methods.method import told_options
from rebase_hf.outcomes import Tally
from rebase_hf.pipeline import Run, held_out
from rebase_hf.plan import Plan
from rebase_hf.quality.balance import label_balance
from rebase_hf.rehearsal import prepared_of
from rebase_hf.run_contamination import run_contamination
from rebase_hf.run_diversity import run_diversity
from rebase_hf.run_folder import decided_records
from rebase_hf.task import Task
from rebase_hf.teacher.latency import latency_report

VERSIONS_OF = (
    "rebase-hf",
    "datasets",
    "huggingface-hub",
    "transformers",
    "usearch",
    "setfit",
    "sentence-transformers",
)


def run_report(run: Run, *, command: str, num_validation: int, whole: FinishedSet | None = None) -> dict[str, Any]:
    """Return what `report.json` says of a run: every count computed from its decisions.

    Args:
        whole: What `whole_set` gave, where that is known already.
    """
    plan, tally, state, usage = run.plan, run.tally(), run.state(), run.usage()
    sources, labels, scores, splits = Counter[str](), Counter[str](), [], Counter[str]()
    texts: list[str] = []
    made_from: list[str | None] = []
    records = list(decided_records(run))
    whole = whole or finish_set(plan, records)
    for position, record in records:
        if position not in whole.kept:
            continue
        example = json.loads(record)
        splits["validation" if held_out(position, num_validation, plan.num_examples) else "train"] += 1
        # Made from a row, from passages alone, or from nothing that was retrieved.
        row, passages = example["provenance"]["dataset"], {s["dataset"] for s in _passages(example)}
        sources.update([row] if row else passages)
        texts.append(plan.task.input_text(example["fields"]))
        made_from.append(row)
        if plan.task.labels:
            labels[example["fields"][plan.task.output]] += 1
        if example["provenance"]["score"] is not None:
            scores.append(example["provenance"]["score"])
    return {
        "command": command,
        "versions": _versions(),
        "seed": plan.seed,
        "task": _public_task(plan.task),
        "method": plan.method,
        "asks_about": plan.how.asks_about,
        "method_options": told_options(plan.options),
        "checks": asdict(plan.checks),
        "index": _index_report(plan),
        "teacher": {"target": plan.teacher.target, **asdict(plan.identity), "license": None},
        "consulted": None if plan.consult is None else plan.consult.name,
        "run_id": run.id,
        "asked_for": plan.num_examples,
        **_counts(tally, whole),
        "stopped": state.stopped if tally.examples < plan.num_examples else None,
        "statement": run.statement() + _taken_out(whole),
        "requests": usage.get("requests", 0),
        "retries": usage.get("retries", 0),
        "refused": usage.get("refused", 0),
        "from_journal": usage.get("from_journal", 0),
        "tokens": {"prompt": usage.get("prompt_tokens", 0), "completion": usage.get("completion_tokens", 0)},
        "cost": usage.get("cost"),
        "latency": latency_report(usage.get("durations", {})),
        "seconds": {name: round(value, 2) for name, value in usage.get("seconds", {}).items()},
        "sources": dict(sources.most_common()),
        "labels": {label: labels[label] for label in plan.task.labels},
        **_balance(plan.task, labels),
        "scores": {"min": min(scores), "mean": sum(scores) / len(scores), "max": max(scores)} if scores else None,
        "splits": dict(splits),
        **({} if plan.how.report is None else plan.how.report(plan.ground(), prepared_of(plan))),
        "diversity": run_diversity(plan, texts, made_from),
        "contamination": run_contamination(plan),
    }


def _balance(task: Task, labels: Counter[str]) -> dict[str, Any]:
    """Return how even the labels came out; nothing for a task without labels."""
    return {"label_balance": label_balance([*labels.elements()], [*task.labels]).to_report()} if task.labels else {}


def _passages(example: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [source for source in example["sources"] if source["role"] == "passage"]


def check_identities(report: Mapping[str, Any]) -> None:
    """Raise when a report's counts do not add up: a row or an output would be lost or counted twice."""
    retrieved = report["asked"] + sum(report["dropped_before"].values())
    outputs = report["examples"] + sum(report["dropped"].values()) + report["quarantined"]
    if report["retrieved"] != retrieved or report["outputs"] != outputs:
        raise RebaseError(
            f"The run's counts do not add up: retrieved {report['retrieved']} against {retrieved}, outputs "
            f"{report['outputs']} against {outputs}. This is a defect of rebase_hf; please report it with report.json."
        )


def _taken_out(whole: FinishedSet) -> str:
    """Return what to add where checks of the whole set took examples out."""
    if not whole.dropped:
        return ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in whole.dropped.items())
    return f" {len(whole.kept):,} stay after the checks of the whole set ({reasons})."


def _counts(tally: Tally, whole: FinishedSet) -> dict[str, Any]:
    dropped = Counter(tally.dropped) + Counter(whole.dropped)
    return {
        "retrieved": tally.retrieved,
        "dropped_before": dict(tally.dropped_before),
        "asked": tally.asked,
        "outputs": tally.outputs,
        "examples": tally.examples - sum(whole.dropped.values()),
        "dropped": dict(dropped.most_common()),
        "dropped_from_whole": whole.dropped,
        "quarantined": sum(tally.quarantined.values()),
        "quarantined_reasons": dict(tally.quarantined),
    }


def _index_report(plan: Plan) -> dict[str, Any] | None:
    index = plan.index
    if index is None:
        return None
    info = index.info()
    return {
        "path": Path(index.path).name,
        "fingerprint": index.fingerprint,
        "encoder": info["encoder"] | {"name": shown_encoder(str(info["encoder"]["name"]))},
        "rows": info["rows"],
        "vectors": info["vectors"],
        "sources": [
            {
                "dataset": source.dataset,
                "config": source.config,
                "split": source.split,
                "revision": source.revision,
                "license": source.license,
                "language": list(source.language),
                "url": source.url,
                "rows": source.rows,
            }
            for source in index.sources
        ],
        "skipped": [{"source": s.source, "reason": s.reason, "detail": s.detail} for s in index.skipped],
    }


def _public_task(task: Task) -> dict[str, Any]:
    """Return the task without this machine's paths."""
    content = task.to_dict()
    for name in ("evaluation", "train"):
        if "path" in content.get(name, {}):
            content[name] = {"path": Path(content[name]["path"]).name}
    return content


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError

    found = {}
    for package in VERSIONS_OF:
        try:
            found[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            continue
    return found
