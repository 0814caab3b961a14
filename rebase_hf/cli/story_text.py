r"""A row's story as text for a terminal.

Rows and answers are untrusted: what could drive a terminal or turn its text around (control characters and escape
sequences, direction marks, line separators, lone surrogates, tags) is shown escaped, such as \x1b; newlines and tabs
stay. Everything else of a prompt or an answer stands as it is. Cells are indented, and a prompt's and an answer's
header say how long they are, so that no text can pass for another section. `--json` has every byte as it is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rebase_hf.rows import source_address

_DRIVING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
WIDTH = 100
_RESULTS = {"passed": "passed", "refused": "REFUSED", "not_run": "not run", "not_applicable": "does not apply"}


def story_text(story: Mapping[str, Any]) -> str:
    """Return a story, as `trace.trace_row` tells it, as text for a terminal."""
    page = "\n\n".join(_sections(story))
    shown, escaped = _DRIVING.subn(_escaped, page)
    if not escaped:
        return shown
    return f"{shown}\n\n({escaped} characters that could drive a terminal stand escaped above; --json has them as is.)"


def terminal_line(text: Any) -> str:
    """Return an untrusted text as one line that can't drive a terminal; newlines and tabs are escaped too."""
    return _DRIVING.sub(_escaped, _line(text))


def _sections(story: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_title(story)}: {_ending(story['outcome'])}"
    if (source := story["source"]) is not None:
        yield _section("Source row", {name: source[name] for name in source})
    if (score := story["score"]) is not None:
        parts = {f"of the {name}": f"{value:.6f}" for name, value in (score["parts"] or {}).items()}
        columns = {f"best column for the {name}": column for name, column in (score["columns"] or {}).items()}
        taken = {f"column for `{name}`": column for name, column in (score["fields_from"] or {}).items()}
        yield _section("Score", {"score": f"{score['score']:.6f}", **parts, **columns, **taken})
    if source is not None:
        yield _cells(story["cells"])
    if not story["requests"]:
        yield f"{_header('Requests')}\nNone was made about this row."
    for number, request in enumerate(story["requests"], start=1):
        yield from _request(request, story["journal"], f"{number} of {len(story['requests'])}")
    yield _checks(story["checks"])
    yield _outcome(story["outcome"])


def _title(story: Mapping[str, Any]) -> str:
    return _line(source_address(story["source"]) if story["source"] else f"row {story['row']}")


def _ending(outcome: Mapping[str, Any]) -> str:
    if outcome["outcome"] == "example":
        return f"example {outcome['position']}, number {outcome['row_in_split']} of split {_line(outcome['split'])}"
    if outcome["outcome"] == "surplus":
        return "surplus"
    how = "left out before asking" if outcome["outcome"] == "before" else outcome["outcome"]
    return f"{how}, {_line(outcome['reason'])}"


def _cells(cells: Mapping[str, str] | None) -> str:
    if cells is None:
        return f"{_header('Cells')}\nThe run folder does not keep them for this row."
    return f"{_header('Cells')}\n" + "\n".join(f"{_line(name)}: {_indented(text)}" for name, text in cells.items())


def _request(request: Mapping[str, Any], journal: str, number: str) -> Iterator[str]:
    turns, missing = (
        request["messages"],
        "" if request["in_journal"] else f"not in the journal of this machine, {journal}",
    )
    facts = {
        "key": request["key"],
        "what": None if turns is None else _what(request),
        "sent": None if request["sent"] else "nothing: the few-shot teacher runs here, and is keyed by what follows",
        "journal": missing or None,
        "model": request["model"],
        "revision": request["revision"],
        "sampling asked for": _set_ones(request["sampling"] or {}) or None,
        "sampling sent as": _set_ones(request["sent_as"] or {}) or None,
        "draw": request["sample"] or None,
        "schema": json.dumps(request["schema"], ensure_ascii=False) if request["schema"] else None,
    }
    yield _section(f"Request {number}", {name: fact for name, fact in facts.items() if fact is not None})
    if turns is not None:
        sizes = ", ".join(f"{_line(turn['role'])} {_size(turn['content'])}" for turn in turns)
        chat = "\n\n".join(f"[{_line(turn['role'])}]\n{turn['content']}" for turn in turns)
        yield f"{_header(f'Prompt {number} ({sizes})')}\n{chat}"
    if (answer := request["answer"]) is not None:
        yield f"{_header(f'Answer {number} ({_about(answer)})')}\n{answer['text']}"
    elif (failure := request["failure"]) is not None:
        ending = f"none, {failure['reason']} after {_times(failure['attempts'])}"
        yield f"{_header(f'Answer {number}: {ending}')}\n  {_indented(failure['detail'])}"
    if request["note"]:
        yield f"({request['note']})"


def _what(request: Mapping[str, Any]) -> str:
    whose = {"before": "a question that came first", "after": "a question about what was answered"}
    what = whose.get(request["part"], "the question")
    return f"{what} to mend the answer" if request["repair"] else what


def _about(answer: Mapping[str, Any]) -> str:
    facts = [_size(answer["text"])]
    if answer.get("finish_reason"):
        facts.append(f"finished by {_line(answer['finish_reason'])}")
        facts.append(f"{answer['prompt_tokens']} + {answer['completion_tokens']} tokens")
        facts.append(_times(answer["attempts"]))
    if answer.get("confidence") is not None:
        facts.append(f"{answer['confidence']:.3f} sure")
    return ", ".join(facts)


def _checks(checks: list[Mapping[str, Any]]) -> str:
    if not checks:
        return f"{_header('Checks')}\nNone was run: there was no answer to check."
    width = max(len(check["check"]) for check in checks)
    lines = []
    for check in checks:
        detail = f": {_line(check['detail'])}" if check["detail"] else ""
        lines.append(f"{_line(check['check']):<{width}}  {_RESULTS[check['result']]}{detail}")
    return f"{_header('Checks, in the order in which they are applied')}\n" + "\n".join(lines)


def _outcome(outcome: Mapping[str, Any]) -> str:
    if outcome["outcome"] == "example":
        # Escapes of JSON keep every text on its line.
        return f"{_header(f'Outcome: {_ending(outcome)}')}\n" + json.dumps(
            outcome["example"], indent=2, ensure_ascii=False
        )
    tried = {} if outcome["attempts"] is None else {"attempts": f"{outcome['attempts']} in all"}
    return _section(f"Outcome: {_ending(outcome)}", {"detail": outcome["detail"], **tried})


def _section(title: str, facts: Mapping[str, Any]) -> str:
    width = max(len(name) for name in facts)
    lines = [f"{_line(name):<{width}}  {'-' if fact is None else _line(fact)}" for name, fact in facts.items()]
    return f"{_header(title)}\n" + "\n".join(lines)


def _header(title: str) -> str:
    """Return a section's header, which headings within a prompt do not look like."""
    return f"# {_line(title)} ".ljust(WIDTH, "-")


def _set_ones(sampling: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sampling.items() if value is not None)


def _size(text: str) -> str:
    lines = text.count("\n") + 1
    return f"{len(text)} characters" + (f" in {lines} lines" if lines > 1 else "")


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"


def _line(value: Any) -> str:
    return str(value).replace("\n", "\\n").replace("\t", "\\t")


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
