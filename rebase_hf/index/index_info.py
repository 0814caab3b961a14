"""What an index holds, as a dict for programs; `index_card.py` makes a page for people of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rebase_hf.index.catalog import SOURCES
from rebase_hf.index.manifest import VERSION, Manifest
from rebase_hf.index.sources import IndexedSource, SkippedSource


def describe(
    manifest: Manifest,
    sources: Sequence[IndexedSource],
    skipped: Sequence[SkippedSource],
    *,
    path: Path,
    approximate: bool,
) -> dict[str, Any]:
    """Return what `RowIndex.info` returns; `licenses` counts rows, `roles` columns."""
    licenses: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    for source in sources:
        licenses[source.license or "unknown"] += source.rows
        roles.update(source.roles)
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
        "roles": dict(sorted(roles.items())),
        "parameters": dict(manifest.parameters),
        "listing": f"{manifest.catalog.name}/{SOURCES}",
        "sources": [asdict(source) for source in sources],
        "skipped": [asdict(skip) for skip in skipped],
    }
