"""Where an index's sources were read from, so that they can be read again.

Beside the manifest and no part of the index: it names folders of this machine, and is never published.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from rebase_hf.index.durable import write_bytes

ADDRESSES = "addresses.json"


def add(root: Path, addresses: Mapping[str, str]) -> None:
    """Write down where sources were read from, by their keys, beside what is known."""
    _write(root, recall(root) | dict(addresses))


def keep(root: Path, keys: Collection[str]) -> None:
    """Forget all but the sources of these keys."""
    _write(root, {key: address for key, address in recall(root).items() if key in keys})


def _write(root: Path, addresses: Mapping[str, str]) -> None:
    if addresses != recall(root):
        root.mkdir(parents=True, exist_ok=True)
        write_bytes(root / ADDRESSES, (json.dumps(dict(sorted(addresses.items())), indent=1) + "\n").encode())


def recall(root: Path) -> dict[str, str]:
    """Return where sources were read from, by their keys; nothing of an index that came from elsewhere."""
    try:
        held = json.loads((root / ADDRESSES).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in held.items()} if isinstance(held, dict) else {}
