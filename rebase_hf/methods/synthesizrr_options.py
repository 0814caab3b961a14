"""How SynthesizRR's documents are found and used."""

from dataclasses import dataclass
from typing import Literal

from rebase_hf.errors import TaskError
from rebase_hf.methods.method import refuse_idle, require_range
from rebase_hf.methods.seeds import own_seeds, target_shares
from rebase_hf.task import Task


@dataclass(frozen=True, slots=True)
class SynthesizRROptions:
    """How documents are found and used; the defaults are the paper's.

    Attributes:
        seeds: `train`, `examples`, `generated` (the teacher writes `seeds_per_label` first), or `auto`: the task's
            train rows, else its examples.
        seeds_per_label: None is 100 for two labels, else 50.
        retriever: `dense`, `lexical`, `both` or `random`.
        ranks: First and last rank that is used.
        similarity: Lowest and highest cosine of seed and document to write from.
        shot_similarity: The same for documents in the in-context examples.
        shot_kind: `retrieved` (a document and its seed), `seed` (the seed alone), `none`.
        shots: How many; None is 3 of `retrieved`, 32 of `seed`.
        context_tokens: Fewest and most tokens of a document.
        outputs: Examples that one answer is to hold.
        labels: `label=share` texts; labels that are not named share the rest alike.
        exact_labels: Give fewer examples rather than more of one label for want of another.
        exclude_family: Leave out sources whose name says that the task's own data comes from them.
    """

    seeds: Literal["auto", "train", "examples", "generated"] = "auto"
    seeds_per_label: int | None = None
    retriever: Literal["dense", "lexical", "both", "random"] = "dense"
    ranks: tuple[int, int] = (1, 50)
    similarity: tuple[float, float] = (0.4, 0.9)
    shot_similarity: tuple[float, float] = (0.5, 0.9)
    shot_kind: Literal["retrieved", "seed", "none"] = "retrieved"
    shots: int | None = None
    context_tokens: tuple[int, int] = (20, 400)
    outputs: int = 1
    labels: tuple[str, ...] | None = None
    exact_labels: bool = True
    exclude_family: bool = True


def check(task: Task, options: SynthesizRROptions) -> None:
    """Raise TaskError where the method or its options do not fit the task."""
    if not task.labels:
        raise TaskError(
            f"Method `synthesizrr` writes texts for labels, and task `{task.name}` has none. Use `rebase` or `fewgen`."
        )
    choices = {
        "seeds": ("auto", "train", "examples", "generated"),
        "retriever": ("dense", "lexical", "both", "random"),
        "shot_kind": ("retrieved", "seed", "none"),
    }
    for name, known in choices.items():
        if getattr(options, name) not in known:
            raise TaskError(f"Option `{name}` is `{getattr(options, name)}`; expected {', '.join(known)}.")
    for name, low, high in (
        ("ranks", 1, 10_000),
        ("similarity", -1, 1),
        ("shot_similarity", -1, 1),
        ("context_tokens", 1, 100_000),
    ):
        bounds = getattr(options, name)
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise TaskError(f"Option `{name}` is {bounds}; expected a lowest and a highest number, as in 0.4,0.9.")
        for bound in bounds:
            require_range(name, bound, low, high)
    require_range("outputs", options.outputs, 1, 20)
    for name, high in (("seeds_per_label", 10_000), ("shots", 50)):
        if getattr(options, name) is not None:
            require_range(name, getattr(options, name), 1, high)
    _check_idle(options)
    target_shares(task, options.labels)
    if options.seeds == "train":
        own_seeds(task, "train")


def _check_idle(options: SynthesizRROptions) -> None:
    if options.retriever == "random":
        ranges = ("similarity", "shot_similarity")
        refuse_idle(options, ranges, "a `retriever` that looks for something: dense, lexical or both")
    if options.shot_kind != "retrieved":
        refuse_idle(options, ("shot_similarity",), "`shot_kind=retrieved`")
    if options.shot_kind == "none":
        refuse_idle(options, ("shots",), "a `shot_kind` that shows some: retrieved or seed")
