"""Which files of a student's folder leave this machine: those that its `student.json` lists, and what is told of it.

A trainer that writes into the same folder leaves its arguments there (with a token among them), checkpoints with the
optimizer's state, and logs that are named after the host. None of that is a student, so nothing is sent for merely
lying there.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public
from rebase_hf.publish.run_files import intact
from rebase_hf.publish.training_findings import CARTOGRAPHY, PROVENANCE
from rebase_hf.students.replacing import MANIFEST, PART, listed_files
from rebase_hf.students.saving import KNOWLEDGE, LOCAL, is_downloaded

# What the callbacks write beside a student.
TOLD = (PROVENANCE, CARTOGRAPHY)
# The tokenizer's words: a token that looks like a path is a token.
_WORDS = ("tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json")
# What a model is read by, and what would be another one if a part that looks like a path were taken out.
_KEPT = ("labels", "id2label", "label2id", "chat_template", "added_tokens_decoder", "files")


def student_files(root: Path) -> dict[str, bytes | Path]:
    """Return the files of a student that may be published, by their name in the repository.

    Raises:
        PublishError: The folder holds no complete student.
    """
    manifest = _manifest(root)
    listed = listed_files(root, manifest)
    if not listed:
        raise PublishError(
            f"{root}/{MANIFEST} does not list the student's files, so what else lies there can't be told from them. "
            "Save it again with this version: load_student(folder).save(folder)."
        )
    names = [name for name in listed if _may_leave(name)]
    if lost := [name for name in names if is_downloaded(name) and not (root / name).is_file()]:
        raise PublishError(f"{root} lacks `{lost[0]}`, which its {MANIFEST} lists. Save or train the student again.")
    told = [name for name in TOLD if (root / name).is_file()]
    sent = [name for name in (*names, *told) if (root / name).is_file()]
    return {name: _public_file(root, name) for name in (MANIFEST, *sent)}


def left_by_earlier(manifest: Mapping[str, Any], held: set[str], files: Mapping[str, bytes | Path]) -> set[str]:
    """Return which files of a repository an earlier student of ours left that the one to be sent does not have.

    Args:
        manifest: The `student.json` that is there.
        held: The files that are there.
        files: Those to be sent.
    """
    if "format" not in manifest or "kind" not in manifest:
        return set()
    listed = manifest.get("files")
    names = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    return ({*names, *TOLD} & held) - set(files)


def _manifest(root: Path) -> Mapping[str, Any]:
    path = root / MANIFEST
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PublishError(
            f"{root} has no {MANIFEST}: what is there is no student, or one whose saving was cut short. Train or save "
            "it again."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PublishError(f"{path} can't be read: {error}. Train or save the student again.") from error
    if not isinstance(held, dict):
        raise PublishError(f"{path} holds no JSON object. Train or save the student again.")
    return held


def _may_leave(name: str) -> bool:
    """Return whether a listed file may go: a list that somebody edited, or a save from elsewhere, may name any."""
    parts = PurePosixPath(name).parts
    traces = any(part.startswith((".", "checkpoint-")) or part in ("runs", PART) for part in parts)
    return not traces and name not in (LOCAL, MANIFEST) and parts[-1] != "training_args.bin"


def _public_file(root: Path, name: str) -> bytes | Path:
    """Return a file without folders and hosts of this machine; one that names none, as it is."""
    path = root / name
    # A knowledge store is an index, which keeps sums of its files and names no folder.
    if not name.endswith(".json") or path.name in _WORDS or name.startswith(f"{KNOWLEDGE}/"):
        return path
    with intact(path):
        held = json.loads(path.read_text(encoding="utf-8"))
    shown = _public_config(held)
    return path if shown == held else (json.dumps(shown, indent=2, ensure_ascii=False) + "\n").encode()


def _public_config(held: Any) -> Any:
    if not isinstance(held, Mapping):
        return public(held)
    return {key: item if key in _KEPT else public({key: item})[key] for key, item in held.items()}
