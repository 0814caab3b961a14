"""Put a student into a folder whole, in place of the one that was there, and of nothing else.

A student is written into a part of its own, and moved when it is complete. What a student wrote is listed in its
`student.json`; that alone is taken away when another is saved there. While files are moved there is no `student.json`,
and the part says which names are a student's, so that what was cut short is made good by saving again.

FOLDER/.student.part/new/           the student that is being written
FOLDER/.student.part/owned.json     while it is moved: the names of the old one's files and of the new one's
"""

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.json_files import read_json, write_json

MANIFEST = "student.json"
FILES = "files"
PART = ".student.part"
# Of what every student has, or nearly every one: looked for before a training, which takes long.
USUAL = (MANIFEST, "task.yaml", "training.json", "config.json", "tokenizer.json", "model.safetensors")


@contextmanager
def replacing(folder: str | Path, *, keeps: Collection[str] = ()) -> Iterator[Path]:
    """Yield a folder to write a student into, the manifest included; then put it into `folder`.

    Where writing it fails, `folder` is as before.

    Args:
        keeps: Folders of an earlier student that are this one's too, and stay.

    Raises:
        StudentError: `folder` is a file, or holds a file of such a name that no student wrote.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise StudentError(f"{path} is a file; give a folder to save the student in.")
    part = path / PART
    shutil.rmtree(part / "new", ignore_errors=True)
    (part / "new").mkdir(parents=True)
    try:
        yield part / "new"
        written, owned = _names(part / "new"), _owned(path)
        kept = [name for name in owned if name.split("/")[0] in keeps]
        _refuse_others(path, written, owned)
        _list_files(part / "new", [*written, *kept])
        write_json(part / "owned.json", {FILES: sorted({*owned, *written})})
    except BaseException:
        shutil.rmtree(part / "new", ignore_errors=True)
        if not (part / "owned.json").is_file():
            shutil.rmtree(part, ignore_errors=True)
        raise
    _swap(path, written, set(owned) - set(kept))


def check_destination(folder: str | Path) -> None:
    """Raise where a student could not be saved in a folder, as far as that can be told before there is one.

    Raises:
        StudentError: It is a file, or holds a file that no student wrote and one would replace.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise StudentError(f"{path} is a file; give a folder to save the student in.")
    _refuse_others(path, USUAL, _owned(path))


def listed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that a student's manifest lists, of those that lie in its folder's tree."""
    return _listed(folder, manifest.get(FILES))


def is_incomplete(folder: Path) -> bool:
    """Return whether saving a student there was cut short, so that there is none."""
    return (folder / PART).is_dir() and not (folder / MANIFEST).is_file()


def _swap(path: Path, written: Iterable[str], owned: Iterable[str]) -> None:
    part = path / PART
    (path / MANIFEST).unlink(missing_ok=True)
    for name in owned:
        (path / name).unlink(missing_ok=True)
        _remove_empty(path, PurePosixPath(name).parent)
    for name in sorted(written, key=lambda name: (name == MANIFEST, name)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (part / "new" / name).replace(path / name)
    shutil.rmtree(part)


def _remove_empty(path: Path, inside: PurePosixPath) -> None:
    while inside.name and (path / inside).is_dir() and not any((path / inside).iterdir()):
        (path / inside).rmdir()
        inside = inside.parent


def _list_files(new: Path, names: Iterable[str]) -> None:
    """Add to the manifest which files the student has."""
    write_json(new / MANIFEST, read_json(new / MANIFEST) | {FILES: sorted({*names} - {MANIFEST})})


def _names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _owned(path: Path) -> list[str]:
    """Return the names of the files in a folder that a student wrote there, also one that was cut short.

    Raises:
        StudentError: The manifest there is damaged.
    """
    owned: list[str] = []
    for file in (path / MANIFEST, path / PART / "owned.json"):
        if not file.is_file():
            continue
        try:
            held = read_json(file)
        except StudentError as error:
            raise StudentError(
                f"{error} Which files it wrote can't be told, so nothing is saved there; give another folder, or "
                "delete this one."
            ) from error
        owned += _listed(path, held.get(FILES))
        owned += [MANIFEST] if _is_manifest(held) else []
    return owned


def _listed(path: Path, files: object) -> list[str]:
    """Return of a list of names those that lie in the folder: a list from elsewhere may hold any."""
    names = [name for name in files if isinstance(name, str) and name] if isinstance(files, list) else []
    root = path.resolve()
    return [name for name in names if (path / name).parent.resolve().is_relative_to(root) and ".." not in name]


def _is_manifest(held: Mapping[str, Any]) -> bool:
    """Return whether it is what a student has in its manifest: other programs may have a file of that name too."""
    return "format" in held and "kind" in held


def _refuse_others(path: Path, written: Iterable[str], owned: Collection[str]) -> None:
    if MANIFEST in owned and (path / MANIFEST).is_file() and FILES not in read_json(path / MANIFEST):
        return  # a student from before these lists: what it wrote has the names that are written now
    held = [name for name in written if name not in owned and (path / name).exists()]
    if held:
        also = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise StudentError(
            f"{path} holds `{held[0]}`{also}, which no student wrote and this one would replace. Give a folder of its "
            "own, or move it away."
        )
