"""What looks personal or secret in texts that are about to be seen by everybody: found, told, and taken out.

Patterns and check digits, no model: addresses of e-mail, telephone numbers, bank and card numbers, keys. A name or a
street is not found; who publishes rows of people still has to know what is in them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rebase_hf.secrets_in_text import find_secrets

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b")
# RFC 2606 and RFC 6761: names that can belong to nobody.
_RESERVED = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.IGNORECASE)
# With a country's code, grouped as people write numbers, or beside a word that says so: a bare run of digits is an
# order, an id, a price.
_PHONE = re.compile(
    r"(?<![\w.+-])(?<!\d,)(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}"
    r"|00[1-9]\d{0,2}[ .-]\(?\d{1,4}\)?(?:[ .-]?\d{1,4}){1,4}"
    r"|\(0?\d{2,4}\)[ .-]?\d{3,4}[ .-]?\d{3,4}"
    r"|0[1-9]\d{1,3}[ ./-]\d{3,4}[ .-]?\d{3,4}"
    r"|0[1-9](?:[ .-]\d{2}){4}"
    r"|(?:1[ .-])?[2-9]\d{2}(?:[.-]\d{3}[.-]| [2-9]\d{2} )\d{4})(?![\w-]|\.\d)"
)
_TOLD_PHONE = re.compile(
    r"\b(?:(?:tele)?phone|tel|mobile|cell|whatsapp|(?:call|ring|text) (?:me|us))"
    r"(?: (?:number|no|is|on|at))*[.:]{0,2} ?(?P<number>\+?\d(?:[ ()./-]{0,2}\d){6,14})(?![\w-]|\.\d)",
    re.IGNORECASE,
)
# Numbers that are set aside for stories: 555-01xx in North America, 020 7946 0xxx and the like in Britain (Ofcom).
_STORY_PHONE = re.compile(r"555\D?01\d{2}$|(?:7946\D?0\d{3}|496\D?0\d{3}|01632\D?960\D?\d{3}|7700\D?900\D?\d{3})$")
# As they are written on cards: in one run, by fours, or 4-6-5 and 4-6-4.
_CARD = re.compile(
    r"(?<![\w.,-])(?:\d{13}|\d{15,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})"
    r"(?![\w-]|[.,]\d| \d{4}\b)"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
# A year in brackets, as of a journal's volume; opening hours of the form 0900-1300.
_NO_PHONE = re.compile(r"\((?:19|20)\d\d\)|(?:[01]\d|2[0-3])[0-5]\d(?:\D(?:[01]\d|2[0-3])[0-5]\d)+$")
_YEARS = re.compile(r"(?:(?:19|20)\d\d\D?)+")
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """One place in a text.

    Attributes:
        kind: `email`, `phone`, `card`, `iban` or `key`.
        start: Where it begins.
        stop: Where it ends.
    """

    kind: str
    start: int
    stop: int


@dataclass(slots=True)
class Findings:
    """What was found in the texts of a push.

    Attributes:
        counts: How often each kind was found.
        places: Where, the first few of each kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def look(self, where: str, text: str) -> None:
        """Look through one text."""
        for one in find_private(text):
            self.counts[one.kind] += 1
            places = self.places.setdefault(one.kind, [])
            if len(places) < SHOWN and where not in places:
                places.append(where)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        """What was found and where, without saying it again."""
        parts = []
        for kind, count in sorted(self.counts.items()):
            more = ", ..." if count > len(self.places[kind]) else ""
            parts.append(f"{count} of kind `{kind}` ({', '.join(self.places[kind])}{more})")
        return "; ".join(parts)


def find_private(text: str) -> list[Found]:
    """Return what looks personal or secret in a text, in order, none within another.

    Example:
        >>> [found.kind for found in find_private("Write to ann@mail.net or call +49 30 901820.")]
        ['email', 'phone']
    """
    found: list[Found] = []
    for one in sorted(_candidates(text), key=lambda one: (one.start, -one.stop)):
        if not found or one.start >= found[-1].stop:
            found.append(one)
    return found


def redact(text: str) -> str:
    """Return a text with `[email]`, `[phone]` and so on in place of what looks personal or secret."""
    for one in reversed(find_private(text)):
        text = f"{text[: one.start]}[{one.kind}]{text[one.stop :]}"
    return text


def redact_all(value: Any) -> Any:
    """Return JSON of any shape with every text in it redacted; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def look_through(texts: Iterable[tuple[str, str]]) -> Findings:
    """Return what is found in texts, each given with where it stands."""
    findings = Findings()
    for where, text in texts:
        findings.look(where, text)
    return findings


def _candidates(text: str) -> Iterator[Found]:
    for kind, pattern, holds in _KINDS:
        for match in pattern.finditer(text):
            place = "number" if "number" in pattern.groupindex else 0
            if holds(match[place]):
                yield Found(kind, *match.span(place))
    for start, stop in find_secrets(text):
        yield Found("key", start, stop)


def _is_email(text: str) -> bool:
    return not _RESERVED.search(text)


def _is_phone(text: str) -> bool:
    fewest = 8 if text[1:].isdigit() else 7  # +1000000 is a number that grew
    many = fewest <= sum(char.isdigit() for char in text) <= 15
    return many and not _STORY_PHONE.search(text) and not _NO_PHONE.match(text)


def _is_card(text: str) -> bool:
    """Return whether a number has the check digit of cards (Luhn), and begins as one does."""
    if _YEARS.fullmatch(text):
        return False
    digits = [int(char) for char in text if char.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) < 4:
        return False
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """Return whether a text has the check digits of a bank account (ISO 13616)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", _EMAIL, _is_email),
    ("iban", _IBAN, _is_iban),
    ("card", _CARD, _is_card),
    ("phone", _PHONE, _is_phone),
    ("phone", _TOLD_PHONE, _is_phone),
)
