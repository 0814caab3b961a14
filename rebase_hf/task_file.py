"""Where a task file is: read here or from the Hub, with what finds the files that it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rebase_hf.errors import TaskError
from rebase_hf.labelled_rows import one_line

# Where a name in a task file leads: to a local path, or to a file that is fetched from the Hub.
Find = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Beside:
    """Finds files beside a local task file, or from the working directory for a task that is a dict."""

    root: Path

    def __call__(self, name: str) -> Path:
        """Return the path that a task file calls `name`."""
        return self.root / Path(name).expanduser()


def read_task_file(source: str | Path) -> tuple[dict[str, Any], str, Find]:
    """Return what a task file holds, what to call it in messages, and what finds the files that it names.

    Raises:
        TaskError: It can't be found or read.
    """
    path = _local_file(source)
    if path is not None:
        return _read_yaml(path), f"Task file {path}", Beside(path.parent)
    fetch = _hub_files(str(source))
    return _read_yaml(fetch("task.yaml")), f"Task `{source}`", fetch


def _local_file(source: str | Path) -> Path | None:
    """Return the local task file that `source` names, or None where it can only be the id of a Hub dataset."""
    path = Path(source)
    try:
        if path.is_file():
            return path
        if path.is_dir():
            if (path / "task.yaml").is_file():
                return path / "task.yaml"
            raise TaskError(f"Folder {path} holds no task.yaml. Add one, or give the path of a task file.")
    except OSError as error:  # a name that is too long, a folder that must not be read
        raise TaskError(f"Task `{str(source)[:80]}` can't be looked up: {one_line(error)}. Give a path.") from error
    name = str(source)
    if isinstance(source, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")) or "\n" in name:
        raise TaskError(f"Task file {name[:200]} does not exist. Give the path of a task.yaml, or a Hub dataset's id.")
    if path.suffix in (".yaml", ".yml"):
        raise TaskError(f"Task file {name} does not exist. Give the path of a task.yaml, or a Hub dataset's id.")
    return None


def _hub_files(repo_id: str) -> Find:
    """Return what fetches files of a Hub dataset; from the local cache where the Hub does not answer."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    transport = HfHubHTTPError.__bases__[0]
    asked = f"Task `{repo_id}` is not a file here; looked for it as a Hub dataset with a `task.yaml`"
    advice = "Correct the path or the id."
    try:
        # One request without the retries of a download: somebody who mistyped a path must not wait for half a minute.
        HfApi().dataset_info(repo_id, timeout=20)
        reached = True
    except (HfHubHTTPError, HFValidationError) as error:
        raise TaskError(f"{asked}: {one_line(error)}. {advice}") from error
    except (transport, OSError):
        reached = False

    def fetch(name: str) -> Path:
        if Path(name).is_absolute() or ".." in Path(name).parts or name.startswith("~"):
            raise TaskError(f"Task `{repo_id}` names the file {name}, which is not in its dataset. Use a local copy.")
        try:
            return Path(hf_hub_download(repo_id, name, repo_type="dataset", local_files_only=not reached))
        except (transport, OSError) as error:
            why = one_line(error) if reached else "the Hub does not answer, and there is no copy in the cache"
            raise TaskError(f"{asked}: {name}: {why}. {advice}") from error

    return fetch


class _TextLoader(yaml.BaseLoader):
    """Reads every scalar as text, so that a label `no`, `on` or `1` stays what its author wrote."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(problem="a key stands here twice", problem_mark=node.start_mark)
        return mapping


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise TaskError(f"Task file {path} is not YAML: {one_line(error)}. Mend it there.") from error
    if not isinstance(content, dict):
        raise TaskError(
            f"Task file {path} holds {type(content).__name__}, expected keys such as `name` and `instruction`."
        )
    return {key: None if value in ("", "~", "null") else value for key, value in content.items()}
