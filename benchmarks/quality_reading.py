"""Write the samples of rows that the checks take out, and of rows that stay, for reading: one file a check.

python -m benchmarks.quality_reading OUT            # needs REBASE_KIT
python -m benchmarks.quality_reading OUT --unread   # only rows that benchmarks/quality_read.json says nothing of

A verdict on a row is kept in that file under the check and the digest that stands above the row.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.kit_data import all_tasks
from benchmarks.linear_student import RememberingEncoder
from benchmarks.quality_removed import checked_tasks
from benchmarks.quality_samples import Sampled, Sampler
from benchmarks.quality_verdicts import read_verdicts

LONGEST = 1500  # characters shown of a text


def gathered() -> Sampler:
    """Return what the samples are drawn of: the rows of all tasks of the kit that have recorded answers."""
    sampler = Sampler()
    for task, guard, runs in checked_tasks(all_tasks(), RememberingEncoder()):
        sampler.gather(task, guard, runs)
    return sampler


def main() -> None:
    """Write the files."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("out", type=Path, help="the folder to write to")
    made.add_argument("--unread", action="store_true", help="leave out what has a verdict")
    options = made.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    verdicts = read_verdicts()
    for check, rows in gathered().drawn().items():
        read = verdicts.get(check, {}) if options.unread else {}
        left = [row for row in rows if row.digest not in read]
        (options.out / f"{check}.md").write_text(sample_text(check, left))
        print(f"{check}: {len(left)} of {len(rows)} rows to read")


def sample_text(check: str, rows: Sequence[Sampled]) -> str:
    """Return a sample as a reader wants it."""
    parts = [f"# {check}"]
    for number, row in enumerate(rows, start=1):
        *inputs, output = row.fields.values()
        shown = [f"## {number} {row.digest} {row.task}", f"ROW: {_cut(' / '.join(inputs))} → {output}"]
        shown += [f"BESIDE: {_cut(text)}" for text in row.beside]
        parts.append("\n".join([*shown, f"SAID: {_cut(row.detail)}"] if row.detail else shown))
    return "\n\n".join(parts) + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


if __name__ == "__main__":
    main()
