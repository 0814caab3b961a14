"""What an index holds, as a dict for programs and as a card for people."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rebase_hf.index.manifest import VERSION, Manifest
from rebase_hf.index.sources import IndexedSource, SkippedSource

_UNEVEN = {"row_groups": "over evenly spread row groups", "first_rows": "the first rows"}


def describe(
    manifest: Manifest,
    sources: Sequence[IndexedSource],
    skipped: Sequence[SkippedSource],
    *,
    path: Path,
    approximate: bool,
) -> dict[str, Any]:
    """Return what `RowIndex.info` returns; `licenses` counts rows."""
    licenses: Counter[str] = Counter()
    for source in sources:
        licenses[source.license or "unknown"] += source.rows
    return {
        "path": str(path),
        "fingerprint": manifest.fingerprint,
        "format_version": VERSION,
        "encoder": dict(manifest.encoder),
        "rows": manifest.counts["rows"],
        "cells": manifest.counts["cells"],
        "junk_cells": manifest.counts["junk_cells"],
        "texts": manifest.counts["texts"],
        "vectors": manifest.counts["vectors"],
        "dead_rows": manifest.counts["dead_rows"],
        "segments": len(manifest.segments),
        "words": all(segment.words is not None for segment in manifest.segments),
        "approximate": approximate,
        "bytes": sum(part.bytes for part in manifest.parts),
        "licenses": dict(sorted(licenses.items())),
        "languages": sorted({language for source in sources for language in source.language}),
        "parameters": dict(manifest.parameters),
        "sources": [asdict(source) for source in sources],
        "skipped": [asdict(skip) for skip in skipped],
    }


def index_card(info: Mapping[str, Any], repo_id: str) -> str:
    """Return the README of an index's repo: what it holds, under which licences, made how."""
    licenses = sorted({name for held in info["licenses"] for name in held.split(", ")} - {"unknown"})
    head = ["---", "license:", *(f"- {name}" for name in licenses or ["unknown"])]
    if info["languages"]:
        head += ["language:", *(f"- {name!r}".replace("'", '"') for name in info["languages"])]
    head += ["tags:", "- rebase-hf", "- row-index", "viewer: false", "---", ""]
    encoder = info["encoder"]
    rows = [
        f"| {source['dataset']} | {source['config'] or ''} | {source['split']} | {source['license'] or 'unknown'} "
        f"| {source['rows']} | `{(source['revision'] or '')[:12]}` |"
        for source in info["sources"]
    ]
    uneven = Counter(source["sampling"] for source in info["sources"] if source["sampling"] != "even")
    exceptions = "".join(f"; of {count} only {_UNEVEN[how]}" for how, count in sorted(uneven.items()))
    body = [
        f"# {repo_id.split('/')[-1]}",
        "",
        f"A [rebase-hf](https://pypi.org/project/rebase-hf) row index: {info['rows']} rows of {len(rows)} datasets, "
        f"{info['vectors']} distinct texts embedded with `{encoder['name']}` ({encoder['dimension']} dimensions).",
        "The rows keep the licences of their datasets, listed below.",
        "",
        "```python",
        "from rebase_hf import RowIndex",
        "",
        f'index = RowIndex.open("{repo_id}")',
        'index.search("a text", k=5)',
        "```",
        "",
        "| dataset | config | split | licence | rows | revision |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"At most {info['parameters']['max_rows_per_source']} rows a dataset, spread evenly over its split"
        f"{exceptions}. "
        f"Fingerprint `{info['fingerprint']}`.",
        "",
    ]
    return "\n".join(head + body)
