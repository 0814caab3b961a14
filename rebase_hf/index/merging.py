"""Finished sources to one index: rows joined in order, each distinct text's vector once, the graph over them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index import manifest, rows_store, stages, vectors
from rebase_hf.index.durable import sync_file, write_array, write_bytes
from rebase_hf.index.sources import SkippedSource
from rebase_hf.index.stages import Digest, Stage

Array = np.ndarray[Any, Any]


def merge_stages(
    finished: Sequence[Stage], skipped: Sequence[SkippedSource], folder: Path, *, dimension: int, seed: int
) -> tuple[dict[str, int], float]:
    """Write an index's files into an empty folder; return the counts and the scale of the int8 vectors.

    Only the texts' digests, the cells' numbers and the offsets are held in memory; texts and vectors stream through.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    cell_vectors, order = _number_vectors(finished)
    _merge_rows(finished, folder, seed)
    _merge_cells(finished, cell_vectors, len(order), folder)
    _merge_vectors(finished, order, dimension, folder)
    held: Array = np.load(folder / vectors.VECTORS, mmap_mode="r", allow_pickle=False)
    scale = vectors.choose_scale(held, seed)
    vectors.build_graph(held, folder / vectors.GRAPH, scale=scale, seed=seed)
    write_array(
        folder / manifest.DESCRIPTIONS,
        np.stack([stage.array(stages.DESCRIPTION) for stage in finished]).astype(np.float32),
    )
    listing = {"sources": [asdict(s.source) for s in finished], "skipped": [asdict(skip) for skip in skipped]}
    write_bytes(folder / manifest.SOURCES, (json.dumps(listing, ensure_ascii=False, indent=1) + "\n").encode())
    junk = sum(int(stage.array(rows_store.CELL_JUNK).sum()) for stage in finished)
    counts = {
        "sources": len(finished),
        "skipped": len(skipped),
        "rows": sum(stage.source.rows for stage in finished),
        "cells": len(cell_vectors),
        "junk_cells": junk,
        "vectors": len(order),
    }
    return counts, scale


def _number_vectors(finished: Sequence[Stage]) -> tuple[Array, Array]:
    """Return each cell's vector, numbered by first appearance, and each vector's place among the stages' vectors."""
    places: dict[Digest, int] = {}
    count = 0
    for stage in finished:
        for digest in stage.digests(stages.NEW_DIGESTS):
            places.setdefault(digest, count)
            count += 1
    numbers = np.full(count, -1, dtype=np.int64)
    cells, order, given = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)], 0
    for stage in finished:
        held = np.array([places[digest] for digest in stage.digests(stages.DIGESTS)], dtype=np.int64)
        unseen = held[numbers[held] < 0]
        _, first = np.unique(unseen, return_index=True)
        new = unseen[np.sort(first)]
        numbers[new] = np.arange(given, given + len(new))
        given += len(new)
        order.append(new)
        cells.append(numbers[held].astype(np.uint32))
    return np.concatenate(cells), np.concatenate(order)


def _merge_rows(finished: Sequence[Stage], folder: Path, seed: int) -> None:
    rows_store.compress_rows([stage.folder for stage in finished], folder, seed=seed)
    numbers = [stage.array(rows_store.NUMBERS) for stage in finished]
    write_array(folder / rows_store.NUMBERS, np.concatenate(numbers))
    sources = np.repeat(np.arange(len(finished), dtype=np.int32), [stage.source.rows for stage in finished])
    write_array(folder / rows_store.SOURCES, sources)


def _merge_cells(finished: Sequence[Stage], cell_vectors: Array, vector_count: int, folder: Path) -> None:
    starts, position = [np.zeros(1, np.int64)], 0
    for stage in finished:
        own = np.asarray(stage.array(rows_store.CELL_STARTS))
        starts.append(own[1:] + position)
        position += int(own[-1])
    write_array(folder / rows_store.CELL_STARTS, np.concatenate(starts))
    for name in (rows_store.CELL_COLUMNS, rows_store.CELL_JUNK):
        write_array(folder / name, np.concatenate([stage.array(name) for stage in finished]))
    write_array(folder / rows_store.CELL_VECTORS, cell_vectors)
    write_array(folder / rows_store.VECTOR_CELLS, np.argsort(cell_vectors, kind="stable").astype(np.uint32))
    held = np.bincount(cell_vectors, minlength=vector_count)
    write_array(folder / rows_store.VECTOR_STARTS, np.concatenate([[0], np.cumsum(held)]).astype(np.int64))


def _merge_vectors(finished: Sequence[Stage], order: Array, dimension: int, folder: Path) -> None:
    path = folder / vectors.VECTORS
    merged = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(order), dimension))
    start = 0
    for stage in finished:
        own = stage.new_vectors(dimension)
        ids = np.flatnonzero((order >= start) & (order < start + len(own)))
        for chunk in range(0, len(ids), vectors.CHUNK):
            part = ids[chunk : chunk + vectors.CHUNK]
            merged[part] = own[order[part] - start]
        start += len(own)
    merged.flush()
    del merged
    sync_file(path)
