"""The `datasets` builder behind `load_dataset("rebase", task=...)`. It replays a run; all work is the pipeline's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import datasets

from rebase_hf.finished_set import finish_set, looks_at_whole_set
from rebase_hf.methods.consulting import Consultant
from rebase_hf.methods.named import method_named
from rebase_hf.outcomes import read_example
from rebase_hf.pipeline import Run, held_out
from rebase_hf.plan import GIVE_UP_AFTER, Plan, dataset_features, make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.teacher.target import Teacher, is_hf_token, is_hugging_faces

# Divisible by most numbers of workers: a stream is split evenly, without running on every node in full.
SHARDS = 48
_TEACHER_FIELDS = tuple(f.name for f in fields(Teacher) if f.name != "target")


@dataclass
class RebaseConfig(datasets.BuilderConfig):  # type: ignore[misc] # datasets is untyped
    """What to make. Unknown names are refused by `datasets`.

    Attributes:
        task: A task file, a dict, a Task, or the id of a Hub dataset that holds one.
        index: An index folder, a Hub id, or a list of sources to build one from.
        teacher: A URL, a model id, `local:...`, `few-shot`, or a Teacher.
        num_examples: Examples of the `train` split.
        options: The method's options: an object of its options' class, or a dict.
        consult: The run folder or folder of a trained student whose label and confidence go into the teacher's
            prompts, or its Hub id; or what `students.consulting.consult_student` gives.
        num_validation: Examples of a `validation` split, taken evenly from the same run; 0 makes none.
        model: With its neighbours down to `pause_after`, what `Teacher` takes, for a teacher given as text.
    """

    task: Any = None
    index: Any = None
    teacher: Any = None
    method: str = "rebase"
    num_examples: int = 1000
    num_validation: int = 0
    seed: int = 0
    options: Any = None
    checks: CheckOptions | Mapping[str, Any] | None = None
    give_up_after: float = GIVE_UP_AFTER
    consult: Any = None
    model: str | None = None
    api_key_env: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_concurrency: int | None = None
    max_requests: int | None = None
    max_tokens_total: int | None = None
    max_cost: float | None = None
    price_per_million: tuple[float, float] | None = None
    timeout: float | None = None
    dialect: str | None = None
    provider: str | None = None
    bill_to: str | None = None
    pause_after: bool | None = None
    plan: Plan | None = field(default=None, init=False, repr=False)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Return the id that the cache folder is named by: the run's, and what may cut it short.

        Neither address nor key is in it, and nothing of the arguments is written out.
        """
        if self.plan is None:
            self.plan = self.make_plan(token=None)
        budget = (self.plan.teacher.max_requests, self.plan.teacher.max_tokens_total, self.plan.teacher.max_cost)
        spent = "" if budget == (None, None, None) else datasets.fingerprint.Hasher.hash(budget)[:8]
        return f"{self.plan.task.name}-{self.plan.run_id[:24]}-{self.num_validation}{spent}"

    def make_plan(self, token: str | None) -> Plan:
        """Return the run that makes this dataset; everything wrong with the request is raised here."""
        missing = [name for name in ("task", "teacher") if getattr(self, name) is None]
        how = method_named(self.method)
        if self.index is None and how.needs_index(how.read_options(self.options)):
            missing.insert("task" in missing, "index")
        if missing:
            raise ValueError(
                f'load_dataset("rebase") needs {", ".join(missing)}: for example load_dataset("rebase", '
                'task="task.yaml", index="./index", teacher="http://127.0.0.1:8080").'
            )
        return make_plan(
            self.task,
            self.index,
            self._teacher(),
            method=self.method,
            num_examples=self.num_examples + self.num_validation,
            seed=self.seed,
            options=self.options,
            checks=self.checks,
            give_up_after=self.give_up_after,
            consult=self._consultant(),
            token=token,
        )

    def _consultant(self) -> Consultant | None:
        if not isinstance(self.consult, str | Path):
            return self.consult  # type: ignore[no-any-return] # the plan checks what it is
        from rebase_hf.students.consulting import consult_student

        return consult_student(self.consult)

    def _teacher(self) -> Teacher:
        given = {name: value for name in _TEACHER_FIELDS if (value := getattr(self, name)) is not None}
        if isinstance(self.teacher, Teacher):
            if given:
                raise ValueError(f"{', '.join(given)} stand beside a Teacher; set them on the Teacher itself.")
            return self.teacher
        return Teacher(self.teacher, **given)

    def __getstate__(self) -> dict[str, Any]:
        # What a worker needs of task, index and student is in the plan; live objects do not travel.
        return self.__dict__ | {"task": None, "index": None, "consult": None}


class Rebase(datasets.GeneratorBasedBuilder):  # type: ignore[misc] # datasets is untyped
    """Builds the dataset of a task by replaying its run."""

    BUILDER_CONFIG_CLASS = RebaseConfig
    # A row is written as soon as it is there: whoever streams waits for one answer, not for a batch of them.
    DEFAULT_WRITER_BATCH_SIZE = 100

    def _info(self) -> datasets.DatasetInfo:
        plan = self._plan()
        task, features = plan.task, dataset_features(plan)
        return datasets.DatasetInfo(description=task.instruction, features=features, license=task.license or "")

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        total, held = self._plan().num_examples, self.config.num_validation
        # A check of the whole set needs all of it: then there is one shard, and nothing comes before the end.
        shards = 1 if looks_at_whole_set(self._plan().checks) else min(SHARDS, total)
        bounds = [(total * i // shards, total * (i + 1) // shards) for i in range(shards)]
        eager = not getattr(dl_manager, "is_streaming", False)
        splits = [(datasets.Split.TRAIN, False)] + ([(datasets.Split.VALIDATION, True)] if held else [])
        return [
            datasets.SplitGenerator(name, gen_kwargs={"bounds": bounds, "validation": validation, "eager": eager})
            for name, validation in splits
        ]

    def _generate_examples(
        self, bounds: list[tuple[int, int]], validation: bool, eager: bool
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        plan = self._plan()
        run = Run(plan)
        for start, stop in bounds:
            records = run.records(start, stop, eager=eager)
            if looks_at_whole_set(plan.checks):
                every = list(records)
                kept = finish_set(plan, every).kept
                records = (one for one in every if one[0] in kept)
            for position, record in records:
                if held_out(position, self.config.num_validation, plan.num_examples) == validation:
                    yield position, read_example(record).to_record()

    def _plan(self) -> Plan:
        if self.config.plan is None:
            self.config.plan = self.config.make_plan(token=None)
        plan: Plan = self.config.plan
        # `datasets` keeps the token on the builder, and out of the configuration, its id and its path. A Hugging Face
        # token is given for the Hub, and no mistake beside a server of one's own: it is not meant for that.
        token = self.token
        if not isinstance(token, str) or (is_hf_token(token) and not is_hugging_faces(plan.teacher)):
            return plan
        return replace(plan, token=token)
