"""Cells that say nothing by themselves: booleans, yes and no, numbers, dates, ids, and texts under three characters.

Short values attract everything in an embedding space: in the files published with ReBase all 3,000 rows retrieved for
`boolean_expressions` have the best input `False`, and 2,876 of 3,000 for `multistep_arithmetic_two` are lists of tag
ids. So such cells are flagged when an index is built and compete only when asked to. `yes` and `no` attract as much:
a dataset that has a column of them would give all its rows, whatever they ask, to any task with a short answer.
"""

import re
from collections import Counter

MIN_CHARS = 3
MAX_TOKEN_CHARS = 400  # no id is longer; lists of tags may be, and are judged piece by piece
JUNK_COLUMN_SHARE = 0.9
MAX_PATTERNS = 20  # a column of ids has one or a few

SAYING_NOTHING = frozenset({"true", "false", "yes", "no", "none", "null", "nan", "n/a", "unknown", "undefined"})
_DIGITS = re.compile(r"\d+")
_BLANK = re.compile(r"\s")
_SEPARATORS = re.compile(r"[\s,;|\[\](){}'\"]+")
_NUMBER = re.compile(
    r"[+-]?(?:[$€£¥]\s?)?[+-]?(?:\d[\d,.'_]*|\.\d+)(?:e[+-]?\d+)?\s?(?:%|[$€£¥]|(?:usd|eur|gbp)\b)?", re.I
)
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2}|\s?(?:UTC|GMT))?)?"
)
_TIME = re.compile(
    r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[ap]m)?|\d{1,2}\s?[ap]m|\d+\s?[-–/]\s?\d+", re.I
)  # and fractions, scores
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_NAMED_DATE = re.compile(
    rf"(?:\d{{1,2}}\s+{_MONTHS}|{_MONTHS}\s+\d{{1,2}})(?:,?\s+\d{{2,4}})?|{_MONTHS}\s+\d{{4}}", re.I
)
_IDS = re.compile(
    r"""[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}      # UUID
    | (?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f]|\d{8})[0-9a-f]{8,}  # hexadecimal digest
    | (?:https?|ftp|s3|hf)://\S+ | www\.\S+              # address
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                       # mail address
    | \S+\.(?:jpe?g|png|gif|bmp|webp|wav|mp3|mp4|flac|txt|jsonl?|csv|tsv|parquet|xml|html?|pdf|zip|gz|py|npy)  # file
    | [a-z]{1,4}\d+                                      # Q42, n01440764
    | (?=\S*\d)(?!\S*[a-z]{3}\S*_\S*[a-z]{3})\S*_\S*    # abc_123, train_7b; not Super_Bowl_50
    | (?=(?:\S*\d){3})\S*[-:#/.]\S*                      # B-00042, train-00012, 12:3:1
    | (?=(?:\D*\d){3})(?=\S*[a-z])[a-z\d]{6,}            # B000FA64PK
    | /\S+/\S+                                           # /m/02mjmr, /people/person
    """,
    re.I | re.X,
)
_CODE = re.compile(r"[A-Z]{1,4}-\d+")  # TR-0
_ID_NAME = re.compile(r"(?:^|[_.\s-])(?i:uu|gu|u)?(?i:ids?)$|[a-z](?:Id|ID|UID|UUID)$")  # instruction_id, docId
_TAG = re.compile(r"[BIESLUO]-\S+|.")  # O, B-PER, I-LOC: the tags of a text's tokens, or options' letters
_SHAPES = (_NUMBER, _DATE, _TIME, _NAMED_DATE, _IDS, _CODE)


def is_junk(text: str) -> bool:
    """Return whether a cell's text is a boolean, yes or no, a number, a date, an id, a list of such, or too short.

    Texts in scripts that write a word with one or two characters (Chinese, Japanese, Korean) are not judged by length.
    """
    text = text.strip()
    if len(text) < MIN_CHARS:
        return not any(char >= "\u2e80" for char in text)
    if not any(char.isalnum() for char in text):
        return True
    if _is_token(text):
        return True
    pieces = [piece for piece in _SEPARATORS.split(text) if piece]
    return len(pieces) > 1 and all(_TAG.fullmatch(piece) or _is_token(piece) for piece in pieces)


def _is_token(text: str) -> bool:
    return len(text) <= MAX_TOKEN_CHARS and (
        text.lower() in SAYING_NOTHING or any(shape.fullmatch(text) for shape in _SHAPES)
    )


class ColumnJudge:
    """Decides which columns of a source compete nowhere, from cells shown one by one.

    A column is out when at least 90 % of its cells are junk, or codes cut to a few patterns: `seed_task_78` alone may
    be a title, a column of nothing but `seed_task_#` is an id. So is one that is called an id and holds single words:
    `instruction_id` with `flight-6`.
    """

    def __init__(self) -> None:
        self._cells: Counter[str] = Counter()
        self._junk: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._patterns: dict[str, set[str]] = {}
        self._words: Counter[str] = Counter()

    def see(self, column: str, text: str, *, junk: bool) -> None:
        """Take one cell."""
        self._cells[column] += 1
        self._words[column] += not _BLANK.search(text)
        if junk:
            self._junk[column] += 1
        elif len(text) <= MAX_TOKEN_CHARS and _DIGITS.search(text) and not _BLANK.search(text):
            self._codes[column] += 1
            patterns = self._patterns.setdefault(column, set())
            if len(patterns) < MAX_PATTERNS:
                patterns.add(_DIGITS.sub("#", text))

    def junk_columns(self) -> frozenset[str]:
        """Return the columns that compete nowhere."""
        return frozenset(name for name, count in self._cells.items() if self._is_junk(name, count))

    def _is_junk(self, column: str, count: int) -> bool:
        patterns = len(self._patterns.get(column, ()))
        coded = self._codes[column] if patterns < MAX_PATTERNS and 10 * patterns <= self._codes[column] else 0
        named = self._words[column] if _ID_NAME.search(column) else 0
        return max(self._junk[column] + coded, named) >= JUNK_COLUMN_SHARE * count
