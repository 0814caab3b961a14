"""Which benchmarks `benchmarks.smoke` runs, how small, and which ratios it reads of what they write."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Lines = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two things that one run measured.

    Attributes:
        read: How it is read of the lines, by their keys.
        more_is_better: Else less is.
        slack: What is added to the bound where less is better, for ratios that may be nothing.
    """

    read: Callable[[Lines], float]
    more_is_better: bool = True
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """A benchmark on a small size.

    Attributes:
        small: Its arguments.
        kit: Whether it needs REBASE_KIT; one that does not runs without it, so that its bounds are the same anywhere.
        peers: What must be installed beside.
        scratch: Whether it takes a folder for what is expensive to make.
    """

    name: str
    small: str
    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    kit: bool = False
    peers: tuple[str, ...] = ()
    scratch: bool = False


def _number(key: str) -> Callable[[Lines], float]:
    """Return what reads the number that a line begins with."""
    return lambda lines: float(str(lines[key]["shown"]).split()[0].rstrip("%x").replace(",", ""))


def _throughput(lines: Lines) -> float:
    return statistics.median(lines["throughput"]["details"]["ratios"]) / 100


def _gate(lines: Lines) -> float:
    return _number("cost")(lines) / float(lines["cost"]["details"]["whole_gate_ms"])


def _reasked(lines: Lines) -> float:
    about = lines["kill"]["details"]
    return float((about["asked_again"] + 1000 * about["journalled_asked_again"]) / max(1, sum(about["in_flight_at_each_kill"])))


SCRIPTS = (
    Script("teacher_throughput", "--rows 400 --rounds 3", {"of_bare": Ratio(_throughput)}),
)
