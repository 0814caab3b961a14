"""docs/clients.md and the benchmark behind it: no peer is needed here, but a bare loop and our own driver."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.clients.driving import Driven
from benchmarks.clients.environments import installed
from benchmarks.clients.peers import CLIENTS, Package
from benchmarks.clients.scenarios import Bench, NotWholeError, killed, scattered, throughput, whole
from benchmarks.clients_figures import kill_table, refusals_table, settings_table, speed_table
from benchmarks.loopback_server import serving

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "clients.md"
BY_NAME = {client.name: client for client in CLIENTS}


def bench(tmp_path: Path, name: str = "bare", rows: int = 40) -> Bench:
    return Bench(BY_NAME[name], sys.executable, rows, 1, tmp_path / "material")


def test_the_figures_are_those_of_the_results():
    subprocess.run([sys.executable, "-m", "benchmarks.clients_figures", "--check"], check=True, cwd=ROOT)


def test_a_page_that_says_something_else_is_told(tmp_path):
    page = tmp_path / "clients.md"
    page.write_text(PAGE.read_text().replace("| **rebase_hf", "| **another", 1))
    command = [sys.executable, "-m", "benchmarks.clients_figures", "--document", str(page)]
    asked = subprocess.run([*command, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert asked.returncode == 1 and "python -m benchmarks.clients_figures" in asked.stderr
    subprocess.run(command, check=True, cwd=ROOT)
    assert page.read_text() == PAGE.read_text()


def test_every_driver_is_there_and_every_client_has_a_name_of_its_own():
    assert len(BY_NAME) == len(CLIENTS)
    for client in CLIENTS:
        assert (ROOT / "benchmarks" / "clients" / "drivers" / f"{client.driver}.py").is_file()


def test_a_driver_tells_what_came_of_each_row_and_what_it_cost(tmp_path):
    with serving() as server:
        run = bench(tmp_path).run(server, 40, 8)
        assert server.stats()["answered"] == 40
    assert (run.exit_code, run.right, run.null, run.error) == (0, 40, 0, "")
    assert run.seconds is not None and 0 < run.seconds < run.wall and run.cpu > 0


def test_throughput_is_at_most_what_the_latency_allows(tmp_path):
    found = throughput(bench(tmp_path, rows=300))
    assert found["most_at_once"] == 100
    assert 0 < found["call"][0] <= found["asking"][0] * 1.05 <= 500 * 1.05


def test_what_stops_at_a_refusal_has_no_rows_and_says_why(tmp_path):
    found = scattered(bench(tmp_path, rows=80))
    assert (found["exit_code"], found["missing"], found["rows"]) == ([1], [40], 40)
    assert found["wasted"][0] > 0 and "429" in found["error"][0]


def test_what_keeps_nothing_asks_all_again_after_a_kill(tmp_path):
    found = killed(bench(tmp_path, rows=300))
    assert found["killed"] and found["exit_code"] == 0 and found["right"] == 300
    assert found["asked_after"] == 300 and 165 <= found["extra"] <= 300


def test_what_asks_no_more_and_does_not_end_is_ended(tmp_path):
    with serving(latency=60) as server:
        made = bench(tmp_path)
        (folder := tmp_path / "run").mkdir()
        driven = made.driven(server, folder, 40, 8)
        assert isinstance(driven, Driven)
        run = driven.finished(30, server=server, patience=1.5)
    assert run.exit_code is None and run.right == 0 and run.wall < 20
    with pytest.raises(NotWholeError, match="0 of 40 rows, still running"):
        whole(run, 40)


def write_wheel(folder: Path, name: str, code: str) -> str:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return str(path)


@pytest.mark.slow
def test_a_peer_that_does_not_import_is_repaired_or_told(tmp_path, monkeypatch):
    monkeypatch.setenv("REBASE_CLIENTS", str(tmp_path / "environments"))
    lacking = write_wheel(tmp_path, "made_lacking", "import made_missing\n")
    missing = write_wheel(tmp_path, "made_missing", "")
    package = Package("one", "One", (lacking,), "import made_lacking", ("made_lacking",), repairs=(missing,))
    found = installed(package)
    assert found.documented == "ModuleNotFoundError: No module named 'made_missing'"
    assert (found.error, found.versions) == ("", {"made_lacking": "1.0"})
    written = tmp_path / "environments" / "one" / "environment.json"
    before = written.stat().st_mtime_ns
    assert installed(package) == found and written.stat().st_mtime_ns == before, "what is there is taken"
    broken = installed(Package("one", "One", (lacking,), "import made_lacking", ("made_lacking",)))
    assert broken.error == found.documented and not broken.versions


@pytest.mark.slow
def test_our_own_driver_comes_through_every_scenario(tmp_path):
    command = [sys.executable, "-m", "benchmarks.clients", "--only", "rebase_hf", "--rows", "60", "--rounds", "1"]
    environment = os.environ | {"REBASE_CLIENTS": str(tmp_path / "environments")}
    subprocess.run([*command, "--results", str(tmp_path)], check=True, cwd=ROOT, env=environment)
    lines = json.loads((tmp_path / "clients.json").read_text())["lines"]
    found = {line["key"].partition(".")[0]: line["details"] for line in lines}
    assert set(found) == {"cpu", "throughput", "defaults", "killed", "scattered", "full"}
    assert (found["killed"]["right"], found["killed"]["exit_code"]) == (60, 0)
    for name in ("scattered", "full"):
        assert (found[name]["missing"], found[name]["null"], found[name]["exit_code"]) == ([0], [0], [0])
    assert found["killed"]["asked_before"] + found["killed"]["asked_after"] <= 60 + 60
    assert not (tmp_path / "environments").exists(), "no peer is needed"


def test_the_tables_say_what_did_not_install_and_what_did_not_end():
    broken = {"documented": "a", "error": "ImportError: b", "made": "2026-01-01", "versions": {}}
    well = {"documented": "ImportError: c", "error": "", "made": "2026-01-01", "versions": {"distilabel": "1.5.3"}}
    after = {"rows": 10, "right": 4, "null": 3, "exit_code": None, "killed": True, "asked_after": 0, "extra": -4}
    refused = {"rows": 10, "missing": [6, 5], "null": [6, 5], "exit_code": [0, 0], "asking": [1, 2], "wasted": [7, 7]}
    stopped = {"rows": 10, "missing": [10], "null": [0], "exit_code": [1], "asking": [1.26], "wasted": [7]}
    measured = {
        "install.curator": broken,
        "install.distilabel": well,
        "cpu.distilabel_tgi": {"milliseconds": [3.0, 1.0, 2.0]},
        "throughput.distilabel_tgi": {"failed": "9 of 10 rows, exit code 0", "rows": 10},
        "defaults.distilabel_tgi": {"rows_per_second": 3.31, "most_at_once": 50},
        "killed.distilabel_tgi": after,
        "scattered.distilabel_tgi": refused,
        "full.distilabel_tgi": stopped,
    }
    title = BY_NAME["distilabel_tgi"].title
    speed, kill = speed_table(measured), kill_table(measured)
    assert "| curator | not installed |" in speed and "| curator | not installed |" in kill
    failed = "9 of 10 rows, exit code 0"
    assert f"| {title} | 2.00 (1.00-3.00) | {failed} | {failed} | 3.3 (50 at once) |" in speed
    assert f"| {title} | none beyond; 0 asked by the second run | 4 of 10 | does not end |" in kill
    nulls = "1.5 (1.0-2.0) | 7 | 6 (5-6), 6 (5-6) of them null | exit code 0"
    assert f"| {title} | {nulls} |" in refusals_table(measured, "scattered", "some")
    assert f"| {title} | 1.3 until it stopped | 7 | 10 | exit code 1 |" in refusals_table(measured, "full", "some")
    settings = settings_table(measured, "0.1.0")
    assert "| no: `ImportError: b` |" in settings
    assert "| no: `ImportError: c`; measured with `requests` beside |" in settings
