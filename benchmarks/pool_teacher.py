"""A loopback teacher for rows whose answers are known: it gives each row's text back, with the label recorded for it.

What is asked about is found out from the prompt alone: the row that it shows has a number.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.loopback_server import Server, Serving, command_line, serve, serving

NUMBER = "number"
_ROW = re.compile(r"<row>\n(.*?)\n</row>", re.DOTALL)


def row_number(place: int) -> str:
    """Return the number of a row, as a cell that no text is compared with."""
    return f"n-{place:06d}"


class PoolTeacher(Server):
    """The loopback server with a text and a label for each row in place of made answers."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.answers: dict[str, list[str]] = json.loads(Path(options.answers).read_text())

    def answer(self, request: dict[str, Any]) -> bytes:
        """Return the row's text and label in the fields that are asked for."""
        found = _ROW.findall(request["messages"][-1]["content"])
        known = self.answers[json.loads(found[-1])[NUMBER]]
        return self.completion(
            request, dict(zip(request["response_format"]["value"]["properties"], known, strict=True))
        )


@contextmanager
def answering(rows: Sequence[tuple[str, str]]) -> Iterator[Serving]:
    """Run a server that knows these texts and labels, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        path = Path(folder) / "answers.json"
        path.write_text(json.dumps({row_number(place): row for place, row in enumerate(rows)}))
        with serving(__spec__.name, answers=path) as server:
            yield server


if __name__ == "__main__":
    parser = command_line()
    parser.add_argument("--answers", required=True, help="a JSON file: number of a row to its text and label")
    asyncio.run(serve(PoolTeacher(parser.parse_args())))
