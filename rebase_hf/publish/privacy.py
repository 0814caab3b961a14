"""What looks personal or secret in texts that are about to be seen by everybody: found, told, and taken out.

Patterns and check digits, no model: addresses of e-mail, telephone numbers, bank and card numbers, keys. A name or a
street is not found; who publishes rows of people still has to know what is in them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b")
# RFC 2606 and RFC 6761: names that can belong to nobody.
_RESERVED = re.compile(r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.IGNORECASE)
# With a country's code, or grouped as people write numbers: a bare run of digits is an order, an id, a price.
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}|\(0?\d{2,4}\)[ .-]?\d{3,4}[ .-]?\d{3,4}"
    r"|0\d{2,4}[ .-]\d{3,4}[ .-]?\d{3,4}|[2-9]\d{2}[.-]\d{3}[.-]\d{4})(?![\w-]|\.\d)"
)
# Numbers that are set aside for stories: 555-01xx in North America, 020 7946 0xxx and the like in Britain (Ofcom).
_STORY_PHONE = re.compile(r"555\D?01\d{2}$|(?:7946\D?0\d{3}|496\D?0\d{3}|01632\D?960\D?\d{3}|7700\D?900\D?\d{3})$")
_CARD = re.compile(r"(?<![\w.,-])(?:\d[ -]?){12,18}\d(?![\w-]|[.,]\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_KEYS = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----(?:.*?-----END (?:[A-Z]+ )?PRIVATE KEY-----)?"
    r"|(?<![\w-])(?:(?:hf|api|gho|ghp|ghs|ghu|github_pat|npm|pypi|glpat|xox[abpr])[_-][A-Za-z0-9_-]{16,}"
    r"|sk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
    r"|(?<=://)[^/\s@:]{1,64}:[^/\s@]{1,128}(?=@)",
    re.DOTALL,
)
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
            if holds(match[0]):
                yield Found(kind, *match.span())


def _is_email(text: str) -> bool:
    return not _RESERVED.search(text)


def _is_key(text: str) -> bool:
    return True


def _is_phone(text: str) -> bool:
    return 7 <= sum(char.isdigit() for char in text) <= 15 and not _STORY_PHONE.search(text)


def _is_card(text: str) -> bool:
    """Return whether a number has the check digit of cards (Luhn), and begins as one does."""
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
    ("key", _KEYS, _is_key),
    ("iban", _IBAN, _is_iban),
    ("card", _CARD, _is_card),
    ("phone", _PHONE, _is_phone),
)
