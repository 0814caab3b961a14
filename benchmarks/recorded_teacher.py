"""A loopback teacher that says what real language models once said: it replays recorded answers.

What is asked is found out from the prompt alone, as a reader would: the document to write from and the label to write
for, the question to explain, the explanation to read. Of several answers recorded for the same, the request's seed
takes one, so that the same request has the same answer in whatever order requests come. Where nothing is recorded the
answer is an empty text, which the checks drop as `empty_field`: a real teacher would have written one.

    with replaying({document_key(document, label): ["a text", "another"]}) as server:
        server.url, server.stats()
"""

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.loopback_server import Server, Serving, command_line, serve, serving
from rebase_hf.methods.documents import cut_at_sentence
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import plain_text

_BLOCK = r"<{0}>\n(.*?)\n</{0}>"
# `write.jinja`: the sentence that names the label, with its phrase where it has one.
_LABEL = re.compile(r"^Write .* so that the right `[^`]*` is: (.+)\.$", re.MULTILINE)


def label_key(task: Task, label: str) -> str:
    """Return what a prompt is known by that asks for a text with a label, from nothing."""
    phrase = task.labels[label]
    return f"label: {label if phrase == label else f'{label} ({phrase})'}"


def document_key(task: Task, label: str, text: str, most_tokens: int) -> str:
    """Return what a prompt is known by that asks for a text with a label, written from a document."""
    return f"{label_key(task, label)}\ndocument: {plain_text(cut_at_sentence(text, most_tokens))}"


def question_key(text: str) -> str:
    """Return what a prompt is known by that shows a question with the one input `text`."""
    return f"question: {text}"


def explanation_key(text: str) -> str:
    """Return what a prompt is known by that shows an explanation, to say what it leads to."""
    return f"explanation: {text}"


def asked_for(prompt: str) -> str:
    """Return what a prompt is known by."""
    if found := _last("explanation", prompt):
        return explanation_key(json.loads(found)["explanation"])
    if found := _last("question", prompt):
        return question_key(next(iter(json.loads(found).values())))
    label = _LABEL.search(prompt)
    document = _last("document", prompt)
    parts = [f"label: {label[1]}" if label else "", "" if document is None else f"document: {document}"]
    return "\n".join(part for part in parts if part)


def _last(tag: str, prompt: str) -> str | None:
    found = re.findall(_BLOCK.format(tag), prompt, re.DOTALL)
    return found[-1] if found else None  # those before stand in examples


class RecordedTeacher(Server):
    """The loopback server with recorded answers in place of made ones."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.answers: dict[str, list[str]] = json.loads(Path(options.answers).read_text())

    def answer(self, request: dict[str, Any]) -> bytes:
        """Return a recorded text in the one field that is asked for."""
        known = self.answers.get(asked_for(request["messages"][-1]["content"]), [""])
        field = next(iter(request["response_format"]["value"]["properties"]))
        return self.completion(request, {field: known[int(request.get("seed") or 0) % len(known)]})


@contextmanager
def replaying(answers: Mapping[str, Sequence[str]]) -> Iterator[Serving]:
    """Run a server with these answers in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        path = Path(folder) / "answers.json"
        path.write_text(json.dumps(answers))
        with serving(__spec__.name, answers=path) as server:
            yield server


if __name__ == "__main__":
    parser = command_line()
    parser.add_argument("--answers", required=True, help="a JSON file: what is asked for, and the texts to answer")
    asyncio.run(serve(RecordedTeacher(parser.parse_args())))
