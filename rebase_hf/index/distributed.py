"""An index built by many machines, as steps for datatrove's executors: local, Slurm, Ray, HF Jobs.

plan_index, once ─► read_step, a shard of the sources a rank ─► segment_step, graphs and words ─► merge_step, one task

The machines share a folder: the plan, what each rank has read, the segments. Every step goes on where it was killed;
datatrove's completion markers say what is finished. The index is the one that `RowIndex.build` makes of the same
sources, however many ranks read them. See docs/scale.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.errors import require
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_plan import BuildPlan, plan_index
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.hub_search import HubSearch

if TYPE_CHECKING:
    from rebase_hf.index.distributed_steps import MakeSegments, MergeIndex, ReadSources

__all__ = ["BuildPlan", "BuildSettings", "HubSearch", "merge_step", "plan_index", "read_step", "segment_step"]


def read_step(folder: str | Path, *, encoder: str | Encoder | None = None) -> "ReadSources":
    """Return the step that reads the sources; its executor runs as many tasks as were planned.

    Args:
        folder: That of `plan_index`.
        encoder: Where the planned one's name does not lead to it: a folder of these machines, or an object that can
            be pickled.

    Raises:
        MissingExtraError: datatrove is not installed.
    """
    _require()
    from rebase_hf.index.distributed_steps import ReadSources

    return ReadSources(SharedFolder.at(folder), encoder)


def segment_step(folder: str | Path) -> "MakeSegments":
    """Return the step that makes segments of what was read; any number of tasks, of which each takes its share.

    There are about as many segments as the sources have texts, divided by 4 million; tasks beyond have nothing to do.

    Raises:
        MissingExtraError: datatrove is not installed.
    """
    _require()
    from rebase_hf.index.distributed_steps import MakeSegments

    return MakeSegments(SharedFolder.at(folder))


def merge_step(folder: str | Path, index: str | Path) -> "MergeIndex":
    """Return the step that puts the segments into one index folder; its executor runs one task.

    Args:
        index: The index's own folder, on a file system of the machine that runs the step.

    Raises:
        MissingExtraError: datatrove is not installed.
    """
    _require()
    from rebase_hf.index.distributed_steps import MergeIndex

    return MergeIndex(SharedFolder.at(folder), Path(index).expanduser().resolve())


def _require() -> None:
    require("datatrove", what="Building an index by many machines", extra="scale")
