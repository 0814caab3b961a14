"""Texts that say the same: exactly after normalising, or nearly, by the words they share."""

import re
import unicodedata

from rensa import RMinHash, RMinHashLSH

# 128 permutations in 32 bands of 4: a pair of Jaccard .6 is found with probability .99; what is found is verified.
PERMUTATIONS = 128
BANDS = 32
SHINGLE = 3
NEAR = 0.6

_WORDS = re.compile(r"\w+")
# Beside words, what changes the meaning of a formula: `3 + 4` and `3 * 4` are not the same text.
_WORDS_AND_SYMBOLS = re.compile(r"\w+|[+*/=<>^%&|~]|-(?=\s*\d)")


def words(text: str) -> list[str]:
    """Return a text's words without case or punctuation, in one Unicode form."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """Return a text with case, punctuation and blanks made equal."""
    return " ".join(words(text))


def shingles(text: str, size: int = SHINGLE) -> frozenset[str]:
    """Return the runs of `size` words or symbols in a text; a shorter text is its own and only shingle."""
    tokens = _tokens(text)
    if len(tokens) < size:
        return frozenset([" ".join(tokens)])
    return frozenset(" ".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of two sets' elements that they have in common."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _tokens(text: str) -> list[str]:
    return _WORDS_AND_SYMBOLS.findall(unicodedata.normalize("NFKC", text).casefold())


class NearDuplicates:
    """Texts of one or more fields seen so far, asked one at a time whether a text was there already.

    A text repeats another when every one of its fields does: two questions about one passage are no duplicates.
    MinHash candidates (rensa) are verified by the Jaccard similarity of word 3-grams before anything is called a
    duplicate: unverified, 11 % of innocent rows went with them.

    Args:
        near: From this similarity on two fields are near duplicates; 1.0 looks for equal texts only.
    """

    def __init__(self, *, near: float = NEAR, seed: int = 0) -> None:
        self._near = near
        self._seed = seed
        self._exact: dict[tuple[str, ...], int] = {}
        self._seen: list[tuple[frozenset[str], ...]] = []
        self._lsh = RMinHashLSH(threshold=min(near, 0.9), num_perm=PERMUTATIONS, num_bands=BANDS)

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, *fields: str) -> tuple[int, float] | None:
        """Return the number of the first text added that this one repeats, and how similar they are; else None."""
        return self._find(self._plain(fields), tuple(shingles(field) for field in fields))

    def add(self, *fields: str) -> tuple[int, float] | None:
        """Remember a text, unless it repeats one: then return which, and how similar they are."""
        plain, grams = self._plain(fields), tuple(shingles(field) for field in fields)
        if (found := self._find(plain, grams)) is not None:
            return found
        self._exact[plain] = len(self._seen)
        if self._near < 1.0:
            self._lsh.insert(len(self._seen), self._minhash(grams))
        self._seen.append(grams)
        return None

    def _find(self, plain: tuple[str, ...], grams: tuple[frozenset[str], ...]) -> tuple[int, float] | None:
        if plain in self._exact:
            return self._exact[plain], 1.0
        if self._near >= 1.0:
            return None
        for number in sorted(self._lsh.query(self._minhash(grams))):
            similarity = min(jaccard(a, b) for a, b in zip(grams, self._seen[number], strict=True))
            if similarity >= self._near:
                return number, similarity
        return None

    def _minhash(self, grams: tuple[frozenset[str], ...]) -> RMinHash:
        minhash = RMinHash(num_perm=PERMUTATIONS, seed=self._seed)
        minhash.update(sorted(frozenset().union(*grams)))
        return minhash

    @staticmethod
    def _plain(fields: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(" ".join(_tokens(field)) for field in fields)
