"""The JSON files of a student's folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file of a student's folder, whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(file)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file of a student's folder.

    Raises:
        StudentError: It is missing or damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudentError(f"{file} is missing. The student is damaged; save or download it again.") from error
    except ValueError as error:
        raise StudentError(
            f"{file} is not JSON: {error}. The student is damaged; save or download it again."
        ) from error
    if not isinstance(content, dict):
        raise StudentError(f"{file} holds {type(content).__name__}, expected an object. The student is damaged.")
    return content
