"""Texts that say the same: exactly after normalising, or nearly, by the words they share."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

# 128 permutations in 32 bands of 4: a pair of Jaccard .6 is found with probability .99; what is found is verified.
PERMUTATIONS = 128
BANDS = 32
SHINGLE = 3
NEAR = 0.6
# Longer texts are compared by their beginning: a column of whole books must not fill the memory.
MAX_SHINGLES = 2000

# Scripts that put no blanks between words (Japanese, Chinese, Thai, Lao, Burmese, Khmer): a character is a token.
_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
)
_WORD = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+"
# Signs that change what a text says: those before a number or a bracket (`3 + 4`), between single letters (`a*b`), and
# those that stand alone like words (`x - y`, `[ { ( ) }`). Commas, stops, quotes and dashes do not.
_SIGN = (
    r"[+*/=<>^%&|~×÷−-](?=\s*[\d(])|(?<=\b\w)[+*/=<>^%&|~×÷](?=\w\b)"
    r"|(?<!\S)[^\w\s.,;:!?'\"`´‘’“”„«»…–—•·#\ud800-\udfff](?![^\s.,;:!?])"
)
_WORDS = re.compile(_WORD)
_ONE_UNSPACED = re.compile(f"[{_UNSPACED}]")
_EDGE = rf"[^\W{_UNSPACED}]"  # a letter or digit of a word with blanks around it
_TOKENS = re.compile(f"{_WORD}|{_SIGN}")


def words(text: str) -> list[str]:
    """Return a text's words without case, punctuation or signs, in one Unicode form."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())


def tokens(text: str) -> list[str]:
    """Return a text's words, and the signs that change what it says: `3 + 4` is not `3 * 4`."""
    return _TOKENS.findall(unicodedata.normalize("NFKC", text).casefold())


def has_in_whole_words(text: str, part: str) -> bool:
    """Return whether a text has a part as whole words; a script without blanks has no words to be cut."""
    first, last = ("" if _ONE_UNSPACED.match(char) else _EDGE for char in (part[:1], part[-1:]))
    before, after = first and rf"(?<!{first})", last and rf"(?!{last})"
    return re.search(before + re.escape(part) + after, text) is not None


def normalise(text: str) -> str:
    """Return a text with case, punctuation and blanks made equal."""
    return " ".join(tokens(text))


def shingles(text: str, size: int = SHINGLE) -> frozenset[str]:
    """Return the runs of `size` words or signs in a text; a shorter text is its own and only shingle.

    A run that stands in it again is another shingle, so that `not not not a` is no `not a`.
    """
    return _shingles(tokens(text), size)


def shared_shingles(texts: Iterable[str]) -> frozenset[str]:
    """Return the shingles that all of several different texts have: their form, not what each says.

    Without them, tasks whose inputs all begin with the same long sentence would find every two of them near
    duplicates. A single text has no form that could be told from what it says.
    """
    sets = list({shingles(text) for text in texts})
    return frozenset.intersection(*sets) if len(sets) > 1 else frozenset()


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of two sets' elements that they have in common."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _compact_jaccard(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    together = len(a) + len(b) - shared
    return shared / together if together else 1.0


def _compact(shingles: frozenset[str]) -> NDArray[np.int64]:
    # 8 bytes a shingle in place of a text: a run remembers every example. Only equality within this process counts.
    return np.fromiter(map(hash, shingles), dtype=np.int64, count=len(shingles))


def _shingles(tokens: list[str], size: int = SHINGLE) -> frozenset[str]:
    if len(tokens) < size:
        return frozenset([" ".join(tokens)])
    runs = [" ".join(tokens[i : i + size]) for i in range(min(len(tokens) - size + 1, MAX_SHINGLES))]
    distinct = frozenset(runs)
    if len(distinct) == len(runs):
        return distinct
    times: Counter[str] = Counter()
    numbered = []
    for run in runs:
        times[run] += 1
        numbered.append(run if times[run] == 1 else f"{run}\n{times[run]}")
    return frozenset(numbered)


class NearDuplicates:
    """Texts of one or more fields seen so far, asked one at a time whether a text was there already.

    A text repeats another when every one of its fields does: two questions about one passage are no duplicates.
    MinHash candidates (rensa) are verified by the Jaccard similarity of word 3-grams before anything is called a
    duplicate: unverified, 11 % of innocent rows went with them.

    Args:
        near: From this similarity on two fields are near duplicates; 1.0 looks for equal texts only. Candidates are
            found for .6 and above; of pairs below that, ever more are missed.
        form: Shingles that do not count (`shared_shingles`).
    """

    def __init__(self, *, near: float = NEAR, seed: int = 0, form: frozenset[str] = frozenset()) -> None:
        self._near = near
        self._seed = seed
        self._form = form
        self._exact: dict[bytes, int] = {}
        self._seen: list[tuple[NDArray[np.int64], ...]] = []
        self._lsh = RMinHashLSH(threshold=min(near, 0.9), num_perm=PERMUTATIONS, num_bands=BANDS)

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, *fields: str) -> tuple[int, float] | None:
        """Return the number of the first text added that this one repeats, and how similar they are; else None."""
        return self._look_up(fields, remember=False)

    def add(self, *fields: str) -> tuple[int, float] | None:
        """Remember a text, unless it repeats one: then return which, and how similar they are."""
        return self._look_up(fields, remember=True)

    def _look_up(self, fields: tuple[str, ...], *, remember: bool) -> tuple[int, float] | None:
        split = [tokens(field) for field in fields]
        exact = hashlib.blake2b("\n".join(map(" ".join, split)).encode(), digest_size=16).digest()
        if exact in self._exact:
            return self._exact[exact], 1.0
        compact: tuple[NDArray[np.int64], ...] = ()
        if self._near < 1.0:
            grams = tuple(_shingles(field) - self._form for field in split)
            minhash = RMinHash(num_perm=PERMUTATIONS, seed=self._seed)
            minhash.update(sorted(frozenset().union(*grams)))
            compact = tuple(map(_compact, grams))
            for number in sorted(self._lsh.query(minhash)):
                similarity = min(_compact_jaccard(a, b) for a, b in zip(compact, self._seen[number], strict=True))
                if similarity >= self._near:
                    return number, similarity
            if remember:
                self._lsh.insert(len(self._seen), minhash)
        if remember:
            self._exact[exact] = len(self._seen)
            self._seen.append(compact)
        return None
