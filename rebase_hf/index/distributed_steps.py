"""The steps as datatrove runs them; imported where they are made and where they run, as datatrove is an extra."""

from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from rebase_hf.errors import RowIndexError
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_parts import PartSkip
from rebase_hf.index.distributed_plan import BuildPlan, read_plan
from rebase_hf.index.distributed_reading import read_rank
from rebase_hf.index.distributed_segments import make_segments, merge_parts
from rebase_hf.index.encoders import Encoder


class ReadSources(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """One rank reads its sources; as many tasks as the plan has."""

    type, name = "rebase_hf", "read sources"

    def __init__(self, folder: SharedFolder, encoder: str | Encoder | None) -> None:
        super().__init__()
        self.folder, self.encoder = folder, encoder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Read the rank's sources; `data` is handed on."""
        plan = read_plan(self.folder)
        _check_tasks(plan, world_size)
        with self.track_time("rank"):
            part = read_rank(self.folder, plan, rank, self.encoder)
        for entry in part.entries:
            skipped = isinstance(entry, PartSkip) or entry.source is None
            self.stat_update("sources skipped" if skipped else "sources read")
            if not isinstance(entry, PartSkip):
                self.stat_update("rows", value=sum(piece.rows for piece in entry.pieces), unit="source")
        return data


class MakeSegments(PipelineStep):  # type: ignore[misc]
    """A task makes its share of the segments; any number of tasks."""

    type, name = "rebase_hf", "make segments"

    def __init__(self, folder: SharedFolder) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Make the task's segments; `data` is handed on."""
        with self.track_time("task"):
            made = make_segments(self.folder, read_plan(self.folder), rank, world_size)
        self.stat_update("segments", value=made, unit="task")
        return data


class MergeIndex(PipelineStep):  # type: ignore[misc]
    """One task puts all together."""

    type, name = "rebase_hf", "merge index"

    def __init__(self, folder: SharedFolder, index: Path) -> None:
        super().__init__()
        self.folder, self.index = folder, index

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Merge; `data` is handed on."""
        if world_size != 1:
            raise RowIndexError(f"One task merges an index, and {world_size} were started; give its executor tasks=1.")
        with self.track_time("index"):
            merge_parts(self.folder, read_plan(self.folder), self.index)
        return data


def _check_tasks(plan: BuildPlan, world_size: int) -> None:
    if world_size != plan.tasks:
        raise RowIndexError(
            f"The plan is for {plan.tasks} tasks, and {world_size} were started; give the executor "
            f"tasks={plan.tasks}, or plan again in another folder."
        )
