"""Every benchmark on a small size, its ratios held to stored bounds: does anything run much worse than it did?

Ratios only, never times: a machine that is slow, or busy, is no worse. A ratio fails when it is worse by half than the
one that is stored (`benchmarks/smoke_bounds.json`), three times in a row, for what is small is noisy; all else is
information. Scripts that need REBASE_KIT run where it is set, and are named where it is not. `clients`, which installs
five of them, and `quality_precision`, which counts what was read, have no small size.

python -m benchmarks.smoke             # hold to the bounds
python -m benchmarks.smoke --store     # store what is measured as the new bounds
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.claims import ROOT, find_distribution
from benchmarks.smoke_ratios import SCRIPTS, Script

BOUNDS = ROOT / "benchmarks" / "smoke_bounds.json"
WORSE = 0.5
TIMES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold every benchmark's ratios, on a small size, to stored bounds.")
    parser.add_argument("--store", action="store_true", help="store what is measured as the new bounds")
    parser.add_argument("--only", nargs="+", choices=[script.name for script in SCRIPTS])
    parser.add_argument("--bounds", type=Path, default=BOUNDS, help="the file of what is stored")
    arguments = parser.parse_args()
    bounds = json.loads(arguments.bounds.read_text()) if arguments.bounds.exists() else {}
    measured: dict[str, float] = {}
    began = time.monotonic()
    for script in SCRIPTS:
        if arguments.only is None or script.name in arguments.only:
            measured |= ratios_of(script)
    print(f"{len(measured)} ratios in {time.monotonic() - began:.0f} s")
    if arguments.store:
        kept = {name: round(value, 4) for name, value in (bounds | measured).items()}
        arguments.bounds.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
        return
    failed = verdicts(measured, bounds)
    for _ in range(TIMES - 1):
        slow = [script for script in SCRIPTS if any(name.partition(".")[0] == script.name for name in failed)]
        again = {name: value for script in slow for name, value in ratios_of(script).items()}
        failed = {name: verdict for name, verdict in verdicts(again, bounds).items() if name in failed}
    sys.exit("\n".join(failed.values()) if failed else 0)


def ratios_of(script: Script) -> dict[str, float]:
    """Run a script on its small size, show and return its ratios."""
    if lacking := [package for package in script.peers if not find_distribution(package)]:
        print(f"{script.name}: not run, for {', '.join(lacking)} is not installed", flush=True)
        return {}
    if script.kit and "REBASE_KIT" not in os.environ:
        print(f"{script.name}: not run, for REBASE_KIT names no folder", flush=True)
        return {}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if not script.kit:
        environment.pop("REBASE_KIT", None)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rebase-smoke-") as folder:
        small = script.small.format(folder=folder).split()
        command = [sys.executable, "-m", f"benchmarks.{script.name}", *small, "--results", folder]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        written = Path(folder, f"{script.name}.json")
        if not written.exists():  # exit 1 only says that a small size does not reach what the whole one is to reach
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        lines = {line["key"]: line for line in json.loads(written.read_text())["lines"]}
    found = {f"{script.name}.{name}": ratio.read(lines) for name, ratio in script.ratios.items()}
    seconds = time.monotonic() - began
    for name, value in found.items():
        print(f"{name:<44} {value:8.3f}   ({seconds:.0f} s)", flush=True)
    return found


def verdicts(measured: Mapping[str, float], bounds: Mapping[str, float]) -> dict[str, str]:
    """Return what to say of each ratio that fails."""
    said = {name: worse(name, value, bounds) for name, value in measured.items()}
    return {name: verdict for name, verdict in said.items() if verdict is not None}


def worse(name: str, value: float, bounds: Mapping[str, float]) -> str | None:
    """Return what to say of a ratio that is worse by half than the stored one, or that has none."""
    stored = bounds.get(name)
    if stored is None:
        return f"{name} has no bound: python -m benchmarks.smoke --store"
    ratio = next(s.ratios[name.partition(".")[2]] for s in SCRIPTS if s.name == name.partition(".")[0])
    bad = value < stored * (1 - WORSE) if ratio.more_is_better else value > stored * (1 + WORSE) + ratio.slack
    return f"{name} is {value:.3f}, worse by half than {stored:.3f}, which is stored" if bad else None


if __name__ == "__main__":
    main()
