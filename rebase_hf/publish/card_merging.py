"""A card that is written again over one that people may have edited."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.publish.card_metadata import CONFIG
from rebase_hf.publish.licenses import derive_license

if TYPE_CHECKING:
    from huggingface_hub import RepoCard

# Keys of our cards that say something about one run: of the last run's they must not stay.
_COMPUTED = (
    "license",
    "license_name",
    "source_datasets",
    "base_model",
    "datasets",
    "metrics",
    "model-index",
    "widget",
)
# What a trainer says of weights that this push replaces.
_OF_TRAINERS = ("generated_from_trainer", "generated_from_setfit_trainer")
_NOT_PARQUET = re.compile(r"\.(?:jsonl?|csv|tsv|txt|arrow|xml|zip|gz)\b")
_END = "<!-- end of notes -->"
_NOTES = re.compile(rf"(?<=\n)<!-- notes: [^\n]*-->\n(.*?){re.escape(_END)}", re.DOTALL)
# Where the line that ends them is gone, notes go on to what we write after them.
_OPEN_NOTES = re.compile(r"(?<=\n)<!-- notes: [^\n]*-->\n(.*?)(?=\n## Citation\n|\Z)", re.DOTALL)


def merge_card(new: str, old: str | None) -> str:
    """Return a new card with what must survive of the old one.

    Kept are metadata keys that the new card does not set (of a card of ours: those that are not computed), the tags,
    other dataset configurations, and what a person wrote between the two `notes` lines.

    Raises:
        PublishError: The old card's `default` configuration is not ours, its other configurations stand under a
            licence that can't be combined with the new one, or notes can't be told from the rest.
    """
    from huggingface_hub import RepoCard

    if old is None:
        return new
    ours, theirs = RepoCard(new), RepoCard(old, ignore_metadata_errors=True)
    made, held = _metadata(ours), _metadata(theirs)
    others = _other_configs(made, held)
    if others:
        made |= {"license": _common_license(made, held), "configs": [*made["configs"], *others]}
    dropped = _COMPUTED if "rebase_hf" in (held.get("tags") or ()) else ()
    made |= {key: value for key, value in held.items() if key not in made and key not in dropped}
    tags = dict.fromkeys([*(made.get("tags") or ()), *(held.get("tags") or ())])
    made["tags"] = [tag for tag in tags if tag not in _OF_TRAINERS]
    text = ours.text
    if notes := _notes(theirs.text):
        text = _NOTES.sub(lambda _: notes, text)
    if made == _metadata(ours):
        return new.replace(ours.text, text)
    return f"---\n{type(ours.data)(**made).to_yaml()}\n---\n{text}"


def _notes(text: str) -> str | None:
    """Return what a person wrote into a card, between the lines for it; None where there are none.

    Raises:
        PublishError: The line before it is gone, so that it can't be told from what we wrote.
    """
    if found := _NOTES.search(text):
        return found[0]
    if found := _OPEN_NOTES.search(text):
        return f"{found[0].rstrip()}\n{_END}"
    if _END in text:
        raise PublishError(
            f"The card there has the line `{_END}` and not the one before your notes, which would be lost. Put a line "
            "`<!-- notes: mine -->` before them, or take the other away where there are none."
        )
    return None


def _metadata(card: "RepoCard") -> dict[str, Any]:
    return dict(card.data.to_dict())  # type: ignore[no-untyped-call]


def _common_license(made: Mapping[str, Any], held: Mapping[str, Any]) -> str | None:
    theirs = held.get("license")
    stated = ",".join(theirs) if isinstance(theirs, list) else theirs
    found = derive_license({"this dataset": made.get("license"), "its other configurations": stated})
    if found.problems:
        raise PublishError(
            f"The repository holds other configurations, and the licences do not fit: {'; '.join(found.problems)}. "
            "Publish to a repository of its own."
        )
    return found.identifier


def _other_configs(made: Mapping[str, Any], held: Mapping[str, Any]) -> list[dict[str, Any]]:
    configs = held.get("configs") or []
    if "configs" not in made or not configs:
        return []
    if any(config.get("config_name", CONFIG) == CONFIG for config in configs) and "rebase_hf" not in (
        held.get("tags") or ()
    ):
        raise PublishError(
            f"The repository has a `{CONFIG}` configuration that rebase_hf did not make. "
            "Publish to a repository of its own, or give that configuration another name."
        )
    others = [config for config in configs if config.get("config_name", CONFIG) != CONFIG]
    # `datasets` reads all configurations of a repository with one reader, chosen by the commonest suffix.
    if unlike := [
        str(config["config_name"]) for config in others if _NOT_PARQUET.search(str(config.get("data_files")))
    ]:
        raise PublishError(
            f"The repository's configuration `{unlike[0]}` is not in parquet, and `datasets` can't read both from one "
            "repository. Publish to a repository of its own."
        )
    return others
