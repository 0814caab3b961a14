"""Progress bars of the Hub libraries, so that their switches work here, too."""

from typing import Any


def bar(what: str, total: int, unit: str) -> Any:
    """Return a bar of so many steps, a context manager with `update(steps)`."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    return tqdm(total=total, desc=what, unit=unit, name="rebase_hf.index")  # type: ignore[no-untyped-call]
