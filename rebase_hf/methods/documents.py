"""Retrieved rows as documents: their text, how long it is, and where it is cut."""

import re

from rebase_hf.index.junk import is_junk
from rebase_hf.rows import SourceRow

# A stand-in for the teacher's tokenizer, which an endpoint does not give away: words, numbers and marks. A model's own
# tokens are more: a word of English is about 1.3 of them. Chinese and Japanese have no blanks between words, so a
# character counts as one; and what has none for another reason (Thai, a key, a DNA sequence) counts by 16 characters.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]{{1,16}}|[^\w\s]")
# A sentence's end: a stop with what closes behind it, before a blank or the end; and the stops of scripts without
# blanks.
_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s|$)|[\u3002\uff01\uff1f]")


def document_text(row: SourceRow) -> str:
    """Return a row as a document: its cells that say something, in the source's order, one a line."""
    return "\n".join(text.strip() for text in row.cells.values() if text.strip() and not is_junk(text))


def count_tokens(text: str) -> int:
    """Return how many words, numbers and marks a text has; see `_TOKEN` for scripts without blanks."""
    return sum(1 for _ in _TOKEN.finditer(text))


def cut_at_sentence(text: str, most: int) -> str:
    """Return the beginning of a text of at most so many tokens, up to the last end of a sentence in it.

    Where no sentence ends in it, it is cut behind its last token: the official code returns the whole text then
    (common.py:1989, :2006).
    """
    stop = 0
    for number, token in enumerate(_TOKEN.finditer(text), start=1):
        if number > most:
            break
        stop = token.end()
    else:
        return text.strip()
    ends = [end.end() for end in _END.finditer(text, 0, stop)]
    # A text that was cut within a sentence has an end at `stop` only if a blank follows there.
    ends = [end for end in ends if end < stop or text[end : end + 1].isspace()]
    return text[: ends[-1] if ends else stop].strip()
