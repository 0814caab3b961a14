"""Where an index's sources were read from, so that they can be read again.

Beside the manifest and no part of the index: it names folders of this machine, and is never published.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from rebase_hf.index.durable import write_bytes

ADDRESSES = "addresses.json"


def remember(root: Path, addresses: Mapping[str, str]) -> None:
    """Write down where sources were read from, by their keys; what is known of others goes."""
    write_bytes(root / ADDRESSES, (json.dumps(dict(sorted(addresses.items())), indent=1) + "\n").encode())


def recall(root: Path) -> dict[str, str]:
    """Return where sources were read from, by their keys; nothing of an index that came from elsewhere."""
    try:
        held = json.loads((root / ADDRESSES).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in held.items()} if isinstance(held, dict) else {}
