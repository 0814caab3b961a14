"""Every row of a run as the report shows it: what was retrieved, what it became, and how the teacher was asked."""

import json
from collections.abc import Mapping
from typing import Any

from rebase_hf.home import rebase_home
from rebase_hf.public_text import public_name, shorten
from rebase_hf.publish.finished_run import FinishedRun, address
from rebase_hf.rows import Completion
from rebase_hf.teacher.journal import Journal

# Longer texts are cut in the table of rows: 20,000 rows must stay a page that a phone opens.
_FIELD_CHARS = 1200
_CELL_CHARS = 500
_CELLS = 12
_ANSWER_CHARS = 600
_MESSAGE_CHARS = 4000
# What a page holds of prompts and answers, in characters; a text that stands in many prompts counts once. Rows beyond
# it are told by `rebase-hf trace`.
TRACE_CHARS = 6_000_000


def embedded_rows(folder: FinishedRun) -> dict[str, Any]:
    """Return what the page's script is given: fields, rows, and the texts that rows name by their number."""
    fields = (*folder.task.fields, *(["rationale"] if "rationale" in folder.columns else []))
    traces = _Traces()
    try:
        rows = [_row(folder, fields, split, row, traces) for split, row in folder.rows()]
    finally:
        traces.close()
    return {
        "fields": list(fields),
        "output": folder.task.output,
        "rows": rows,
        "texts": traces.texts,
        "trace": f"rebase-hf trace {folder.path.name}",
    }


def _row(
    folder: FinishedRun, fields: tuple[str, ...], split: str, row: Mapping[str, Any], traces: "_Traces"
) -> dict[str, Any]:
    made_from = row.get("provenance") or {}
    where = [made_from.get(key) for key in ("dataset", "config", "split", "row", "revision", "license")]
    where[0] = public_name(str(where[0])) if where[0] else None
    cells = list(folder.retrieved_cells.get(address(made_from), {}).items())[:_CELLS]
    told = {
        "f": [shorten("" if row.get(n) is None else row[n], _FIELD_CHARS) for n in fields],
        "c": [[shorten(name, 80), shorten(value, _CELL_CHARS)] for name, value in cells],
        "w": where,
        "x": made_from.get("score"),
        "p": (made_from.get("prompt_id") or "")[:12],
        "s": split,
    }
    trace = traces.of(made_from.get("prompt_id"))
    return told | ({"t": trace} if trace else {})


class _Traces:
    """Requests and answers of the journal of this machine, as long as there is room for them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._room = TRACE_CHARS
        self._journal = Journal.peek(rebase_home() / "journal.sqlite")

    def of(self, key: str | None) -> dict[str, Any] | None:
        """Return how a request was made and answered; None where the journal does not say, or there is no room."""
        if key is None or self._journal is None or self._room <= 0:
            return None
        request, answer = self._journal.request(key), self._journal.get(key)
        if request is None or not isinstance(answer, Completion):
            return None
        said = [[str(message["role"]), self._number(str(message["content"]))] for message in request["messages"]]
        sampling = {name: value for name, value in (request.get("sampling") or {}).items() if value is not None}
        tokens = [answer.prompt_tokens, answer.completion_tokens]
        text = shorten(answer.text, _ANSWER_CHARS)
        self._room -= len(text)
        repaired = {"r": 1} if request.get("repair") else {}
        return {"m": said, "a": text, "s": json.dumps(sampling), "n": tokens} | repaired

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()

    def _number(self, text: str) -> int:
        text = shorten(text, _MESSAGE_CHARS)
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
            self._room -= len(text)
        return self._numbers[text]
