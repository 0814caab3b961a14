"""A claim's figures: measured, shown beside their targets, and written to benchmarks/results with how they were made.

Only a measurement with the issue's own numbers is written there; one with other numbers is shown, and written where
`--results` says.
"""

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# What a result says it was made with, where it is installed; by the first word of the script's name.
PACKAGES = {
    "teacher": ("rebase-hf", "huggingface_hub", "httpx2", "aiohttp", "datasets", "rensa", "usearch"),
    "clients": ("rebase-hf", "aiohttp", "datasets", "usearch"),
    "quality": ("rebase-hf", "numpy", "pyarrow", "rensa", "sentence-transformers", "torch", "datasets"),
    "scale": ("rebase-hf", "datatrove", "usearch", "numpy", "zstandard", "tantivy", "torch", "onnxruntime"),
    "methods": (
        *("rebase-hf", "scikit-learn", "sentence-transformers", "torch", "numpy", "usearch", "tantivy"),
        *("datasets", "rensa", "pyarrow"),
    ),
    "students": (
        *("rebase-hf", "scikit-learn", "sentence-transformers", "setfit", "torch", "transformers", "numpy"),
        *("usearch", "tantivy", "datasets", "rensa", "pyarrow"),
    ),
    "end": ("rebase-hf", "setfit", "sentence-transformers", "transformers", "torch", "datasets", "usearch"),
    "retrieval": ("rebase-hf", "sentence-transformers", "torch", "numpy", "datasets", "rensa", "pyarrow"),
    "index": (
        *(
            "rebase-hf",
            "usearch",
            "numkong",
            "hnswlib",
            "faiss-cpu",
            "numpy",
            "zstandard",
            "pyarrow",
            "tantivy",
            "bm25s",
        ),
        *("sentence-transformers", "torch", "onnxruntime", "datasets", "datatrove"),
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of a claim.

    Attributes:
        key: What the table in the documentation knows it by.
        what: What was measured, in words.
        shown: The figure as a reader wants it.
        target: The target in words; None where the figure only says how things are.
        met: Whether the target is reached.
        details: All else that was counted.
    """

    key: str
    what: str
    shown: str
    target: str | None = None
    met: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        verdict = "" if self.met is None else ("   pass" if self.met else "   FAIL")
        target = f"   target: {self.target}" if self.target else ""
        return f"{self.what:<72} {self.shown}{target}{verdict}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every script takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--results", type=Path, help="write the result to this folder, whatever the numbers")
    return made


def report(name: str, made: argparse.ArgumentParser, options: argparse.Namespace, lines: Sequence[Line]) -> None:
    """Show the lines, write them, and exit with 1 where a target is missed."""
    for line in lines:
        print(line)
    own = all(value == made.get_default(key) for key, value in vars(options).items() if key != "results")
    folder = options.results or (RESULTS if own else None)
    if folder is None:
        print("not written: these are not the numbers of the claim (--results FOLDER writes it all the same)")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"name": name, "own_numbers": own, "options": _plain(vars(options)), **_circumstances(name)}
        content["lines"] = [asdict(line) for line in lines]
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    sys.exit(0 if all(line.met is not False for line in lines) else 1)


def _circumstances(name: str) -> dict[str, Any]:
    return {
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": _versions(PACKAGES[name.split("_")[0]]),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {package: version(package) for package in packages if find_distribution(package)}


def find_distribution(package: str) -> bool:
    """Return whether a package is installed."""
    return next(iter(distributions(name=package)), None) is not None


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k != "results"}


def at_most(figure: float, limit: float, unit: str, *, digits: int = 2) -> dict[str, Any]:
    """Return what a Line says of a figure that should not be above its limit."""
    return {
        "shown": f"{figure:.{digits}f} {unit}",
        "target": f"at most {limit:g} {unit}",
        "met": figure <= limit,
    }


def at_least(figure: float, limit: float, unit: str, *, digits: int = 0) -> dict[str, Any]:
    """Return what a Line says of a figure that should not be below its limit."""
    return {
        "shown": f"{figure:.{digits}f} {unit}",
        "target": f"at least {limit:g} {unit}",
        "met": figure >= limit,
    }
