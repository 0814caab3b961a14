"""What a driver is told, and what it tells. Needs nothing but Python: a driver runs with its peer's own interpreter.

A driver is a file whose `answers(job)` hands the job's prompts to its peer in the peer's bulk mode and returns what
came of each, in any order; it ends with `run(answers)`. What it imports at its top is not counted.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        url: Of the server, without a path.
        material: The folder with `prompts.json`, a list of texts, and with what our own driver needs beside it.
        folder: Where the peer keeps whatever lets it go on after it was killed; the same for a second start.
        told: Where the driver writes what it tells.
        in_flight: How many requests may be under way; None leaves the peer's own settings as they are.
        mode: Which way of using the peer, where the driver knows several.
    """

    url: str
    material: str
    folder: str
    told: str
    in_flight: int | None
    mode: str

    @property
    def prompts(self) -> list[str]:
        """The prompts."""
        return list(json.loads((Path(self.material) / "prompts.json").read_text()))

    def to_json(self) -> str:
        """Return it for the command line."""
        return json.dumps(asdict(self))


def run(answers: Callable[[Job], Iterable[str | None]]) -> None:
    """Do the job that the command line holds, and write what came of it."""
    job = Job(**json.loads(sys.argv[1]))
    # Some peers start processes that end with this one; what they used is seen once they were waited for.
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    found = list(answers(job))
    seconds = time.perf_counter() - began
    told = {"answers": found, "seconds": seconds, "cpu_before": used.ru_utime + used.ru_stime}
    whole = Path(f"{job.told}.part")
    whole.write_text(json.dumps(told))
    os.replace(whole, job.told)
