"""A virtual environment for each peer: their requirements exclude one another's, and ours.

They lie in `rebase-clients` below the user's cache folder, or in the folder that `REBASE_CLIENTS` names, and are kept:
about 5 GB. Nothing but the package registry is asked.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from benchmarks.claims import ROOT
from benchmarks.clients.peers import Package

VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


@dataclass(frozen=True, slots=True)
class Environment:
    """What became of installing a package.

    Attributes:
        python: Its interpreter.
        made: The day.
        asked: What it was made from: as long as this is the same, it is not made again.
        documented: What stopped the documented line, the last line of the error; empty where it does.
        error: What stopped it with the repairs too; empty where it can be used.
        versions: Distribution to version.
    """

    python: str
    made: str
    asked: list[str]
    documented: str = ""
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def environments_folder() -> Path:
    """Return where the environments lie."""
    if named := os.environ.get("REBASE_CLIENTS"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rebase-clients"


def installed(package: Package, *, anew: bool = False) -> Environment:
    """Return a package's environment, made if there is none of these requirements yet.

    Args:
        anew: Make it even so.
    """
    folder = environments_folder() / package.name
    told = folder / "environment.json"
    asked = [sys.version, *package.requirements, "repairs:", *package.repairs]
    if not anew and told.exists() and (found := Environment(**json.loads(told.read_text()))).asked == asked:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {package.title} in {folder}", flush=True)
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    documented = error = _stopped(package, python, package.requirements)
    if documented and package.repairs:
        error = _stopped(package, python, (*package.requirements, *package.repairs))
    versions = {} if error else _versions(python, package.versions)
    made = Environment(python, date.today().isoformat(), asked, documented, error, versions)
    told.write_text(json.dumps(asdict(made), indent=2))
    return made


def _stopped(package: Package, python: str, requirements: tuple[str, ...]) -> str:
    """Install, import, and return the last line of whatever stopped it."""
    # Left to the peers' requirements, pip may take a newest torch of several gigabytes.
    pins = Path(python).parent.parent / "pins.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins.write_text("".join(f"{line}\n" for line in lines if line.startswith("torch==")))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(pins)]
    for command in ([*install, *requirements], [python, "-c", package.imports]):
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(python).parent)
        if done.returncode:
            return last_line(done.stderr)
    return ""


def _versions(python: str, names: tuple[str, ...]) -> dict[str, str]:
    told = subprocess.run([python, "-c", VERSIONS, *names], capture_output=True, text=True, check=True)
    return dict(json.loads(told.stdout))


def last_line(text: str, *, longest: int = 300) -> str:
    """Return the last line that says anything, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:longest] if lines else "no word about why"
