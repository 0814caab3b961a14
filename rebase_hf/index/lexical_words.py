"""What a word is to the lexical index, and the fields in which words lie.

One analyser for all rows and all queries, so that a word always finds itself, in whatever language: Unicode NFKC, runs
of letters, marks and digits, lower case, the English (Porter 2) stem. Characters of scripts that are written without
blanks (Chinese, Japanese, Thai, ...) are words each. To other languages the English stem does no more than to make a
few words one; no stem of their own is attempted, as a row's language is rarely known for sure.

tantivy is imported by the files `lexical*.py` only, and there inside functions.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ANALYSER = "rebase_hf.words.1"
LONGEST_WORD = 255  # bytes; a longer run is no word
TEXT = "text"
KEY = "key"
SOURCE = "source"
_NO_BLANKS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = rf"[\w--[_{_NO_BLANKS}]]+|[\w&&[{_NO_BLANKS}]]"


def role_field(role: str) -> str:
    """Return the name of the field that holds the text of a role's cells."""
    return f"role_{role}"


def plain(text: str) -> str:
    """Return a text as words are read from it."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())


def analyser() -> Any:
    """Return the tantivy analyser that cuts rows and queries into words."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    words = TextAnalyzerBuilder(Tokenizer.regex(_WORD)).filter(Filter.lowercase())
    return words.filter(Filter.remove_long(LONGEST_WORD)).filter(Filter.stemmer("english")).build()


def new_index(folder: Path, roles: Sequence[str]) -> Any:
    """Return an empty tantivy index in a folder that exists: a row's whole text, its text by role, key and source."""
    from tantivy import Index, SchemaBuilder

    schema = SchemaBuilder()
    for field in (TEXT, *map(role_field, roles)):
        schema.add_text_field(field, tokenizer_name=ANALYSER, index_option="freq")
    schema.add_unsigned_field(KEY, fast=True)
    schema.add_unsigned_field(SOURCE, indexed=True, fast=True)
    index = Index(schema.build(), path=str(folder))
    index.register_tokenizer(ANALYSER, analyser())
    return index
