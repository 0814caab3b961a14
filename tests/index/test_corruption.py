"""Damaged, swapped and forged files: refused by name, before usearch or tantivy see them; never a crash."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.graph_check import check_graph
from rebase_hf.index.manifest import IndexSegment, describe_files, read_manifest
from rebase_hf.index.row_index import RowIndex
from rebase_hf.index.vectors import build_graph
from tests.index.conftest import COMPLAINTS, REVIEWS, write_source
from tests.index.corrupting import KINDS
from tests.index.hashing_encoder import HashingEncoder

ROOT = Path(__file__).parents[2]
CORRUPTIONS = 300
NAMED = re.compile(r"manifest\.json|(?:segment|words|catalog)-[0-9a-f]{12}/[\w.]+")


def run(*arguments: object) -> list:
    """Run `tests.index.corrupting`, or code, in a process of its own; what it prints comes back."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folders of two indexes, each of segments of their own and, where they can be had, of words."""
    root = tmp_path_factory.mktemp("pair")
    sources = [write_source(root / "one" / "complaints", COMPLAINTS), write_source(root / "one" / "reviews", REVIEWS)]
    letters = [{"letter": f"Dear farmer number {n}", "topic": ("seed", "rain")[n % 2]} for n in range(13)]
    other = [write_source(root / "two" / "letters", letters), write_source(root / "two" / "films", REVIEWS[:2])]
    built = []
    for name, given in (("a", sources), ("b", other)):
        index = RowIndex.build(root / name, given, encoder=HashingEncoder(), max_segment_texts=16)
        facts = index.info()
        assert facts["segments"] >= 2
        has_words = find_spec("tantivy") is not None and find_spec("rebase_hf.index.lexical_building") is not None
        assert facts["words"] is has_words
        built.append(index.path)
    time.sleep(2.2)
    for path in built:  # what is remembered of whole files must not stand for damaged ones
        RowIndex.open(path)
    return built


@pytest.fixture
def index(pair, tmp_path) -> Path:
    return Path(shutil.copytree(pair[0], tmp_path / "copy"))


@pytest.mark.slow
def test_300_corruptions_are_refused_by_name_before_anything_is_read_of_them(pair):
    *told, restored = run("-m", "tests.index.corrupting", *pair, 7, CORRUPTIONS)
    assert len(told) == CORRUPTIONS
    assert Counter(kind for kind, *_ in told).keys() == {kind.__name__ for kind in KINDS}
    for kind, files, error, loaded in told:
        assert error is not None, f"{kind} of {files} was not noticed"
        assert NAMED.search(error) and "\n" not in error, (kind, error)
        if "of_another_index" not in kind or not files[0].endswith("manifest.json"):  # which names what is not there
            assert any(Path(file).name in error for file in files), (kind, files, error)
        assert loaded == [], (kind, files)
    assert restored == ["restored", [], None, []]


def vouch(index: Path) -> None:
    """Make the manifest vouch for the files as they are."""
    manifest = read_manifest(index)

    def seen(part):
        return replace(part, files=describe_files(index / part.name, part.files))

    segments = [IndexSegment(seen(one.rows), one.words and seen(one.words)) for one in manifest.segments]
    replace(manifest, catalog=seen(manifest.catalog), segments=tuple(segments)).write(index)


def segment_folders(index: Path) -> list[Path]:
    return [index / one.rows.name for one in read_manifest(index).segments]


def segment_files() -> list[str]:
    from rebase_hf.index.segment_writing import SEGMENT_FILES

    return list(SEGMENT_FILES)


@pytest.mark.parametrize("name", segment_files())
def test_a_vouched_file_of_another_segment_is_refused(pair, index, name):
    """Of the same index or of another: what it says does not fit the files beside it."""
    victim = segment_folders(index)[0]
    for other in (segment_folders(index)[1], segment_folders(pair[1])[0]):
        whole = (victim / name).read_bytes()
        if (other / name).read_bytes() == whole:
            continue  # a dictionary for too few rows is empty
        shutil.copy(other / name, victim / name)
        vouch(index)
        with pytest.raises(RowIndexError, match=rf"{re.escape(victim.name)}|{re.escape(name)}"):
            RowIndex.open(index)
        (victim / name).write_bytes(whole)
    vouch(index)
    RowIndex.open(index)


@pytest.mark.parametrize("name", ["sources.json", "description_vectors.npy"])
def test_a_vouched_catalog_of_another_index_is_refused(pair, index, name):
    own = index / read_manifest(index).catalog.name
    other = pair[1] / read_manifest(pair[1]).catalog.name
    if name == "description_vectors.npy":
        np.save(own / name, np.zeros((3, 48), np.float32))
    else:
        shutil.copy(other / name, own / name)
        shutil.copy(other / "description_vectors.npy", own / "description_vectors.npy")
    vouch(index)
    with pytest.raises(
        RowIndexError, match=r"are not in segment-|description_vectors\.npy has shape|not have the words"
    ):
        RowIndex.open(index)


def test_description_vectors_of_another_dimension_are_refused(index):
    catalog = index / read_manifest(index).catalog.name
    np.save(catalog / "description_vectors.npy", np.zeros((2, 32), np.float32))
    vouch(index)
    with pytest.raises(RowIndexError, match="description vectors of 32 dimensions, the encoder makes 48"):
        RowIndex.open(index)


def test_a_segment_of_another_dimension_is_refused(tmp_path, index, pair):
    sources = [str(pair[0].parent / "one" / name) for name in ("complaints", "reviews")]
    encoder = HashingEncoder(32)
    other = RowIndex.build(tmp_path / "narrow", sources, encoder=encoder, max_segment_texts=16).path
    forged = replace(read_manifest(other), encoder=read_manifest(index).encoder)
    forged.write(other)
    with pytest.raises(RowIndexError, match="the encoder makes 48; it is of another index"):
        RowIndex.open(other)
    for folder in segment_folders(other):
        shutil.copytree(folder, index / folder.name)
    manifest = read_manifest(index)
    narrow = [IndexSegment(one.rows, None) for one in read_manifest(other).segments]
    replace(manifest, segments=tuple(narrow)).write(index)
    with pytest.raises(RowIndexError, match="has vectors of 32 dimensions, the encoder makes 48"):
        RowIndex.open(index)


def test_cells_of_columns_that_the_source_does_not_have_are_refused(index):
    for column in (-1, 99):
        victim = segment_folders(index)[0] / "cell_columns.npy"
        whole = victim.read_bytes()
        columns = np.load(victim)
        columns[3] = column
        np.save(victim, columns)
        vouch(index)
        with pytest.raises(RowIndexError, match=r"cell_columns.npy names columns that `\w+` does not have"):
            RowIndex.open(index)
        victim.write_bytes(whole)


def test_a_segment_that_the_manifest_does_not_name_is_missed(index):
    manifest = read_manifest(index)
    replace(manifest, segments=manifest.segments[:1]).write(index)
    with pytest.raises(RowIndexError, match=f"are not in {manifest.segments[1].rows.name}"):
        RowIndex.open(index)


def test_words_of_another_segment_are_refused(index):
    manifest = read_manifest(index)
    first, *between, second = manifest.segments  # of different sources
    if first.words is None:
        pytest.skip("needs tantivy")
    swapped = (IndexSegment(first.rows, second.words), *between, IndexSegment(second.rows, first.words))
    replace(manifest, segments=swapped).write(index)
    with pytest.raises(RowIndexError, match=f"does not have the words of the rows of {first.rows.name}"):
        RowIndex.open(index)


FORGED_GRAPHS = """
import json, sys
import numpy as np
from pathlib import Path
from rebase_hf.errors import RowIndexError
from rebase_hf.index.graph_check import check_graph
from rebase_hf.index.vectors import GRAPH, VECTORS, VectorStore
folder = Path(sys.argv[1])
whole = (folder / GRAPH).read_bytes()
vectors = np.load(folder / VECTORS)
count, width = vectors.shape
random = np.random.default_rng(0)
told = []
for number in range(400):
    content = np.frombuffer(whole, np.uint8).copy()
    first = 8 + count * width  # behind the vectors: head, levels, links
    at = first + int(random.integers(0, 112 if number % 2 else len(whole) - first))
    content[at : at + int(random.integers(1, 64))] = random.integers(0, 256, dtype=np.uint8)
    (folder / GRAPH).write_bytes(content.tobytes())
    try:
        check_graph(folder / GRAPH, vectors, 30.0)
        VectorStore(folder, scale=30.0).nearest(np.ones((3, width), np.float32), 10)
        told.append("searched")
    except RowIndexError as error:
        assert str(folder / GRAPH) in str(error)
        told.append(str(error))
    except (ValueError, RuntimeError) as error:
        told.append("usearch: " + str(error))
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_vouched_graph_with_wild_links_is_refused_and_never_crashes(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    build_graph(vectors, tmp_path / "graph.usearch", scale=30.0)
    check_graph(tmp_path / "graph.usearch", vectors, 30.0)
    told = run("-c", FORGED_GRAPHS, tmp_path)
    refused = [line for line in told if "no graph that can be searched" in line]
    assert len(told) == 400
    assert len(refused) > 250
    reasons = {line.split(": ")[-2].split("/")[-1] + line.split(": ")[-1] for line in refused}
    assert len(reasons) >= 6


def test_a_whole_graph_passes_whatever_its_size(tmp_path):
    for count in (0, 1, 2, 17, 1200):
        vectors = np.random.default_rng(count).standard_normal((count, 8)).astype(np.float16)
        build_graph(vectors, tmp_path / "graph", scale=30.0)
        check_graph(tmp_path / "graph", vectors, 30.0)
        with pytest.raises(RowIndexError, match="it has no head of usearch behind"):
            check_graph(tmp_path / "graph", np.zeros((count + 1, 8), np.float16), 30.0)
        if count:
            with pytest.raises(RowIndexError, match="it is of other vectors than those beside it"):
                check_graph(tmp_path / "graph", -vectors, 30.0)
