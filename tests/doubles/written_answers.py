"""Answers that a good teacher gives to prompts that ask for a text of a label, made from the prompt alone."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any


def prompt_of(request: Mapping[str, Any]) -> str:
    """Return the question of a request."""
    content: str = request["messages"][0]["content"]
    return content


def asked_label(request: Mapping[str, Any]) -> str | None:
    """Return the label that a text is to have."""
    found = re.search(r"so that the right `\w+` is: (.+?)(?: \(|\.$)", prompt_of(request), re.MULTILINE)
    return found[1] if found else None


def shown_document(request: Mapping[str, Any]) -> str | None:
    """Return the document that a prompt shows to write from: the last."""
    found = re.findall(r"<document>\n(.*?)\n</document>", prompt_of(request), re.DOTALL)
    return found[-1] if "# The document" in prompt_of(request) else None


def write_as_asked(request: Mapping[str, Any], call: int) -> str:
    """Write what is asked for: the label, words of the document, and what makes every text another."""
    schema = request["response_format"]["value"]
    several = "examples" in schema["properties"]
    one = schema["properties"]["examples"]["items"] if several else schema
    count = schema["properties"]["examples"]["minItems"] if several else 1
    document = (shown_document(request) or "from nothing").split()
    written = []
    for number in range(count):
        words = " ".join(_word(request, call, number, place) for place in range(12))
        text = f"{asked_label(request)} {' '.join(document[:6])} {words}"
        written.append(
            {
                name: part["enum"][call % len(part["enum"])] if "enum" in part else f"{text} {name}"
                for name, part in one["properties"].items()
            }
        )
    return json.dumps({"examples": written} if several else written[0], ensure_ascii=False)


def _word(request: Mapping[str, Any], call: int, number: int, place: int) -> str:
    digest = hashlib.sha256(f"{prompt_of(request)} {request.get('seed')} {call} {number} {place}".encode()).digest()
    return "".join(chr(97 + byte % 26) for byte in digest[:5])
