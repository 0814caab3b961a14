"""Code that runs in a process of its own, with the loopback Hub as its Hub: constants are read at import."""

import json
import subprocess
import sys
from pathlib import Path

from tests.doubles.hub_server import HubServer

ROOT = Path(__file__).parents[2]
HEAD = """
import json, logging, sys
from dataclasses import asdict
from rebase_hf.errors import RowIndexError
from rebase_hf.index import opening
from rebase_hf.index.hub_search import HubSearch
from rebase_hf.index.row_index import RowIndex
from tests.index.hashing_encoder import HashingEncoder
folder = sys.argv[1]
def show(index):
    rows = [[row.row, dict(row.cells)] for row in index.rows(range(len(index)))]
    print(json.dumps({"sources": [asdict(s) for s in index.sources], "rows": rows, "path": str(index.path),
                      "skipped": {s.source: [s.reason, s.detail] for s in index.skipped}, "print": index.fingerprint}))
def build(sources, **options):
    show(RowIndex.build(folder + "/index", sources, encoder=HashingEncoder(), **options))
"""


def run(hub: HubServer, folder: Path, code: str, *, token: str | None = HubServer.token, **env: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(folder)],
        cwd=ROOT,
        env=hub.env(folder, token) | env | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def card(license: str | None, about: str, extra: str = "") -> str:
    head = f"license: {license}\n" if license else ""
    return f"---\n{head}language: en\n{extra}---\n# Title\n\n{about}\n"
