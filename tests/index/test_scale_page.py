"""docs/scale.md: its figures are those of the results, its arithmetic holds, its script runs."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import RESULTS
from benchmarks.scale_costs import Stages, assumptions, costs
from rebase_hf.index.row_index import RowIndex
from tests.doubles.slurm_commands import write_commands
from tests.index.conftest import write_source

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text()


@pytest.fixture
def stages() -> Stages:
    return Stages.of(json.loads((RESULTS / "scale_stages.json").read_text()))


def test_the_figures_are_those_measured():
    subprocess.run([sys.executable, "-m", "benchmarks.scale_figures", "--check"], check=True, cwd=ROOT)


def test_costs_are_what_was_measured_times_rows_times_prices(stages):
    simple = replace(
        stages,
        texts_per_row=2.0,
        read=36e-6,
        words=0.0,
        rows=0.0,
        rest=0.0,
        encode={"fp32": 0.018, "int8": 0.0018, "static": 0.0},
        graph={1000: 180e-6, 2000: 180e-6},
        merge=0.0,
        graph_bytes=500.0,
        vector_bytes=768.0,
        row_bytes=464.0,
        piece_bytes=1000.0,
        search_ms=2.0,
        looked_at=1000.0,
        searched=4_000_000,
    )
    assumed = assumptions({"core_hour_usd": 0.1, "cores": 110, "page_read_us": 50, "gpu_texts_per_second": 1e9})
    found = costs(simple, assumed, 10**8)
    assert found["texts"] == "200 million"
    assert found["segments"] == "50"
    assert found["CPU hours, reading"] == "1"
    assert found["CPU hours, graphs"] == "10"
    assert found["**in all, float32**"] == "1,011 CPU hours, $101, 9.2 hours on 110 cores"
    assert found["**in all, onnx-int8**"] == "111 CPU hours, $11, 1 hours on 110 cores"
    assert found["disk, the index"].startswith("300 GB")
    assert found["disk while it is built, at most"] == "400 GB"
    assert found["one search, everything warm, one thread"] == "100 ms"
    assert found["one search, nothing in memory"] == "50,000 pages, 2.5 s"
    with pytest.raises(SystemExit, match="price: no assumption"):
        assumptions({"price": 1})


def test_a_search_of_a_larger_segment_keeps_more_in_view(stages):
    measured = replace(stages, searched=40_000, view_growth=0.5)
    assert measured.search_growth(40_000) == 1
    assert measured.search_growth(4_000_000) == pytest.approx(10 * math.log(4_000_000) / math.log(40_000))


def test_a_graphs_cost_grows_with_the_logarithm_of_its_size(stages):
    grown = replace(stages, graph={1_000: 100e-6, 8_000: 130e-6})
    assert grown.graph_of(64_000) == pytest.approx(160e-6)


@pytest.mark.slow
def test_the_script_runs_and_is_short(tmp_path):
    script, opening = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) < 15
    source = write_source(tmp_path / "letters", [{"text": f"letter {i} about geese"} for i in range(30)])
    script, given = re.subn(r"sources = \[.*\]", f"sources = [{source!r}]", script)
    assert given == 1
    shared = str(tmp_path / "rows")
    script = script.replace('"/shared/rows", 500', f"{shared!r}, 2").replace('"segments", 50', '"segments", 1')
    (tmp_path / "build.py").write_text(script)
    path = os.pathsep.join(
        [str(write_commands(tmp_path / "bin")), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    told = {"PATH": path, "SLURM_JOBS": str(tmp_path / "jobs"), "REBASE_HOME": str(tmp_path / "home")}
    told["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "build.py")],
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scope = {"RowIndex": RowIndex}
    exec(opening.replace("/shared/rows", shared), scope)  # noqa: S102 - the page's own line
    assert scope["index"].search("a letter about geese", k=1)[0].source.dataset == "letters"
