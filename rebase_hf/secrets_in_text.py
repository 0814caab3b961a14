"""Keys, tokens and passwords in texts: one list of how they look, for what is shown and for what is published.

The forms are those that their makers document, so that a scanner can find them: a prefix and what follows it.
"""

import re
from collections.abc import Iterator

# Whatever follows, nothing else begins so.
_CERTAIN = (
    r"hf_[A-Za-z0-9]{16,}",  # Hugging Face: a user's, and below an organisation's
    r"api_org_[A-Za-z0-9]{16,}",
    r"gh[opsur]_[A-Za-z0-9]{16,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{16,}",
    r"gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{16,}",  # GitLab
    r"xox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe and those who took its form
    r"whsec_[A-Za-z0-9+/]{16,}",
    r"sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic, OpenRouter
    r"nvapi-[A-Za-z0-9_-]{16,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # Amazon
    r"AIza[0-9A-Za-z_-]{35}",  # Google
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"dckr_pat_[A-Za-z0-9_-]{16,}",
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # a JSON web token (RFC 7519)
)
# Words begin so too: what follows must look drawn by lot.
_LIKELY = (
    r"sk-[A-Za-z0-9_-]{16,}",
    r"(?:api|key|npm|pypi|gsk|r8|fw|xai|pplx|csk|tgp_v1)[_-][A-Za-z0-9_-]{16,}",
)
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?P<certain>{'|'.join(_CERTAIN)})|(?<![\w-])(?:{'|'.join(_LIKELY)})")
# PEM (RFC 7468): with its end, where there is one near; a key of 8192 bits is 6,400 characters.
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{0,8000}-----END (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----)?"
)
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@")
_MASK = "***"


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield where keys, tokens and a URL's passwords stand in a text: begin and end of each, by their kind."""
    for match in _KEY.finditer(text):
        if match["certain"] or _is_drawn(match[0]):
            yield match.span()
    for match in _PEM.finditer(text):
        yield match.span()
    for match in _CREDENTIALS.finditer(text):
        yield match.start(), match.end() - 1


def without_secrets(text: str) -> str:
    """Return a text with `***` in place of keys and tokens, and its URLs without names and passwords.

    Example:
        >>> without_secrets("https://me:pw@api.net with sk_live_4eC39HqLyjWDarjtT1")
        'https://api.net with ***'
    """
    text = _CREDENTIALS.sub("", text)
    kept, end = [], 0
    for start, stop in sorted(find_secrets(text)):
        if start >= end:
            kept += [text[end:start], _MASK]
        end = max(end, stop)
    return "".join((*kept, text[end:]))


def _is_drawn(key: str) -> bool:
    """Return whether what stands after a key's prefix is no chain of words: letters and digits run into each other."""
    longest = max(re.split(r"[_-]", key)[1:], key=len)
    digits = sum(char.isdigit() for char in longest)
    mixed = not (longest.islower() or longest.isupper() or longest.istitle())
    return len(longest) >= 12 and (2 <= digits < len(longest) or (mixed and digits < len(longest)))
