"""The card of a student that its user trained on: ours, with what the trainer wrote of that in a place of its own.

`Trainer.push_to_hub` and SetFit write a card of theirs over the one that is there. Here the two become one: our text
stays, and theirs stands between two lines, where the next push writes it again.
"""

import re
from typing import Any

BEGIN = "<!-- trained on: each push by a trainer writes anew what stands from here to the line that ends it -->"
END = "<!-- end of trained on -->"
OURS = "rebase_hf"
_BLOCK = re.compile(rf"\n*{re.escape(BEGIN)}.*?{re.escape(END)}\n*", re.DOTALL)
_TITLE = re.compile(r"^# .+$", re.MULTILINE)
_HEADING = re.compile(r"^(#{1,4}) ", re.MULTILINE)
# Of our card, what was measured on the student before; of theirs, what we know better.
_OF_BEFORE = ("model-index", "metrics")
_OURS_ALONE = ("license", "license_name", "license_link", "tags", "widget", "library_name", "pipeline_tag", "language")


def is_ours(card: str) -> bool:
    """Return whether a card of a student is of this library, by its metadata and its sections."""
    from huggingface_hub import RepoCard

    held = RepoCard(card, ignore_metadata_errors=True)
    tags = held.data.to_dict().get("tags") or ()  # type: ignore[no-untyped-call]
    return OURS in tags and "## What it was trained on" in held.text


def continue_card(ours: str, theirs: str, *, repo_id: str | None = None) -> str:
    """Return our card of a student with what a trainer wrote of its further training.

    The figures of our table are of the student before; the card says so. A card that is continued twice tells of the
    last training.

    Args:
        theirs: The card that the trainer wrote; one of ours changes nothing.
        repo_id: Where it goes. A student that was trained on from there names no base model but the first.
    """
    from huggingface_hub import ModelCardData, RepoCard

    if is_ours(theirs):
        return theirs
    held, made = RepoCard(ours, ignore_metadata_errors=True), RepoCard(theirs, ignore_metadata_errors=True)
    text = _BLOCK.sub("\n\n", held.text).lstrip("\n")
    title = _TITLE.search(text)
    place = title.end() if title else 0
    text = f"{text[:place]}\n\n{_told(made.text)}\n\n{text[place:].lstrip()}"
    metadata = _metadata(held.data.to_dict(), made.data.to_dict(), repo_id)  # type: ignore[no-untyped-call]
    return f"---\n{ModelCardData(ignore_metadata_errors=True, **metadata).to_yaml()}\n---\n\n{text}"


def _told(text: str) -> str:
    demoted = _HEADING.sub(r"###\1 ", text.strip()).replace(BEGIN, "").replace(END, "")
    return (
        f"{BEGIN}\n\n"
        "**Trained on since.** The weights are of a further training; what is said and measured below is of the "
        "student before it.\n\n"
        f"<details><summary>What the trainer says of it</summary>\n\n{demoted}\n\n</details>\n\n{END}"
    )


def _metadata(ours: dict[str, Any], theirs: dict[str, Any], repo_id: str | None) -> dict[str, Any]:
    kept = {key: value for key, value in ours.items() if key not in _OF_BEFORE}
    added = {key: value for key, value in theirs.items() if key not in _OURS_ALONE}
    base = added.pop("base_model", None)
    if isinstance(base, str) and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", base) and base != repo_id:
        kept["base_model"] = base
    datasets = [*_listed(kept.get("datasets")), *_listed(added.pop("datasets", None))]
    tags = [*_listed(ours.get("tags")), *_listed(theirs.get("tags"))]
    merged = {**added, **kept, "tags": list(dict.fromkeys(tags))}
    if datasets:
        merged["datasets"] = list(dict.fromkeys(datasets))
    return merged


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
