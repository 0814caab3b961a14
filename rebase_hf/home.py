"""Where what outlives a run is kept: the journal, decisions of runs, indexes built on the fly."""

import os
from pathlib import Path


def rebase_home() -> Path:
    """Return `$REBASE_HOME`, by default `$HF_HOME/rebase`; it is made when something is first written there."""
    if home := os.environ.get("REBASE_HOME"):
        return Path(home).expanduser()
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "rebase"
