"""How evenly a dataset is spread: over the datasets its rows come from, over the names and numbers in its texts."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}(?: \d{{4}})?\b"
    rf"|\b{_MONTH} \d{{1,4}}(?:st|nd|rd|th)?(?:, \d{{4}})?\b|(?<=\b[Ii]n ){_MONTH}\b|\b{_DAY}\b"
)
_NUMBER = r"\d+(?:[.,]\d+)*"
_MONEY = re.compile(rf"[$€£¥] ?{_NUMBER}|\b{_NUMBER} ?(?:€|euros?\b|dollars?\b|pounds?\b|EUR\b|USD\b|GBP\b)")
_QUANTITY = re.compile(rf"\b{_NUMBER}\b ?%?")
_CAPITALISED = r"[^\W\d_a-zß-öø-ÿ][\w'’&-]*"
_NAME = re.compile(rf"\b{_CAPITALISED}(?: (?:(?:of|the|de|van|von|del|la) )*{_CAPITALISED})*")
# What stands before the first word of a sentence, in the few characters before a name.
_BEFORE = 4
_BEGINNING = re.compile(r"^\s*$|[.!?:…][\"”')]*\s+$|\n\s*$|[\"“(]$")
# In this order: what one kind takes of a text is not looked at for the next.
_PATTERNS = {"date": _DATE, "money": _MONEY, "number": _QUANTITY}
_GAP = " ~ "


@dataclass(frozen=True, slots=True)
class Spread:
    """How something is spread over kinds.

    Attributes:
        count: How many there are in all.
        kinds: How many different ones.
        entropy: Of their shares, in nats.
    """

    count: int
    kinds: int
    entropy: float

    @property
    def effective(self) -> float:
        """How many kinds of equal share have the same entropy; 0 where there is nothing."""
        return math.exp(self.entropy) if self.kinds else 0.0

    @classmethod
    def of(cls, values: Iterable[str]) -> "Spread":
        """Return how values are spread."""
        counts = Counter(values)
        return cls(counts.total(), len(counts), entropy(list(counts.values())))


def entropy(counts: Sequence[int]) -> float:
    """Return the entropy of counts in nats; 0 for one kind or none."""
    total = sum(counts)
    return max(0.0, -sum(count / total * math.log(count / total) for count in counts if count))


def entity_spread(texts: Sequence[str]) -> dict[str, Spread]:
    """Return for each kind of entity how its mentions are spread: `date`, `money`, `number`, `name`.

    A stand-in for SynthesizRR's entity entropy (arXiv 2405.10040), which takes spaCy's largest English model: here
    patterns alone tell what an entity is, and no model is fetched. A name is a run of capitalised words; the first
    word of a sentence belongs to one only where the texts have it capitalised within a sentence as well. So names mean
    little in languages that capitalise every noun, or none, and dates are found by English words: figures compare
    between datasets of one language, and not with a paper's.
    """
    found: dict[str, list[str]] = {kind: [] for kind in (*_PATTERNS, "name")}
    rest = []
    for text in texts:
        for kind, pattern in _PATTERNS.items():
            found[kind] += [" ".join(mention.split()) for mention in pattern.findall(text)]
            text = pattern.sub(_GAP, text)
        rest.append(text)
    found["name"] = _names(rest)
    return {kind: Spread.of(mentions) for kind, mentions in found.items()}


def _names(texts: Sequence[str]) -> list[str]:
    spans = [
        (match.group().split(), bool(_BEGINNING.search(text[max(0, match.start() - _BEFORE) : match.start()])))
        for text in texts
        for match in _NAME.finditer(text)
    ]
    within = {word for words, begins in spans for word in words[begins:]}
    names = []
    for words, begins in spans:
        while words and (words[0].islower() or (begins and words[0] not in within)):
            words, begins = words[1:], False
        if words and words != ["I"]:
            names.append(" ".join(words))
    return names
