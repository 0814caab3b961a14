"""What the Hub's answer to a refused request says: its status, and whether a later try may be answered otherwise."""

# Beside 5xx: too slow, somebody else's commit, too many requests.
_LATER = frozenset({408, 412, 429})


def status_of(error: object) -> int:
    """Return the status that the Hub answered with, 0 where it answered nothing."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def may_do_later(status: int) -> bool:
    """Return whether the Hub gave up, and did not refuse."""
    return status in _LATER or status >= 500
