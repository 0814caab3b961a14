"""Make `load_dataset("rebase", task=...)` known to `datasets`. The one place that touches its private names.

`datasets` has no plug-in registry. Two things are needed (read in 4.0 to 5.2): an entry among its packaged modules, so
that the name is found; and an answer to which data files belong to it, since for a packaged module without any it
globs the working directory: in an empty one it fails, in another the stray files become part of the cache key.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

NAME = "rebase"
MODULE = "rebase_hf.builder"


def register() -> None:
    """Register "rebase" with `datasets`; doing it twice is doing it once.

    Raises:
        RuntimeError: Another package has registered this name.
    """
    from datasets import load
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as packaged

    known = packaged.get(NAME)
    if known is not None and known[0] != MODULE:
        raise RuntimeError(f'`load_dataset("{NAME}")` already belongs to {known[0]}; rebase_hf does not take it over.')
    packaged[NAME] = (MODULE, _code_hash())
    if not getattr(load.PackagedDatasetModuleFactory, "_knows_rebase", False):
        load.PackagedDatasetModuleFactory = _factory(load.PackagedDatasetModuleFactory)


def unregister() -> None:
    """Take "rebase" out of `datasets` again, as if rebase_hf had never been imported."""
    from datasets import load
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as packaged

    if packaged.get(NAME, ("",))[0] == MODULE:
        del packaged[NAME]
    if getattr(load.PackagedDatasetModuleFactory, "_knows_rebase", False):
        load.PackagedDatasetModuleFactory = load.PackagedDatasetModuleFactory.__bases__[0]


def _factory(packaged: Any) -> Any:
    from datasets.data_files import DataFilesDict
    from datasets.load import DatasetModule

    class PackagedDatasetModuleFactory(packaged):  # type: ignore[misc]
        _knows_rebase = True

        def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
            if name != NAME:
                super().__init__(name, *args, **kwargs)
                return
            # Not the parent's: it would send the name to a download counter.
            self.name = name
            self.given = {k: v for k, v in kwargs.items() if k in ("data_dir", "data_files") and v is not None}

        def get_module(self) -> Any:
            if self.name != NAME:
                return super().get_module()
            if self.given:
                raise ValueError(
                    f'load_dataset("{NAME}") got {", ".join(self.given)}, and reads no data files. Say what to make: '
                    'load_dataset("rebase", task="task.yaml", index="./index", teacher="http://127.0.0.1:8080").'
                )
            return DatasetModule(MODULE, _code_hash(), {"data_files": DataFilesDict(), "dataset_name": NAME})

    PackagedDatasetModuleFactory.__qualname__ = PackagedDatasetModuleFactory.__name__
    return PackagedDatasetModuleFactory


@cache
def _code_hash() -> str:
    # The rest of what decides a dataset (task, index, model, prompts, checks) is in the configuration's id.
    digest = hashlib.sha256(version("rebase-hf").encode())
    digest.update(Path(__file__).with_name("builder.py").read_bytes())
    return digest.hexdigest()
