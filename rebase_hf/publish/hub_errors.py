"""What the Hub's client raises, as one line that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rebase_hf.errors import PublishError, PublishInterrupted
from rebase_hf.hub_answers import may_do_later, status_of
from rebase_hf.public_text import public

_LONGEST = 300
_ADVICE = {
    401: "The token is wrong or has expired: log in again with `hf auth login`.",
    403: "The token may not write there: use one with write access to that namespace.",
    404: "It is not there, or the token may not see it: check the name and the token.",
    412: "Somebody else committed meanwhile; nothing was changed. Push again.",
    429: "Too many requests were made: push again in some minutes.",
}


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do.

    Raises:
        PublishInterrupted: The Hub, the network or the disk gave up: a later try may go through.
        PublishError: `repo_id` is no repository's id, or the Hub refused.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    transport = HfHubHTTPError.__bases__[0]  # of httpx, whichever it is that the client uses
    try:
        _check_id(repo_id)
        yield
    except HFValidationError as error:
        raise PublishError(f"`{repo_id}` is no repository id: {error} Use `namespace/name`.") from error
    except HfHubHTTPError as error:
        raise _of_answer(error, f"Could not {doing} {repo_id}") from error
    except (transport, ConnectionError, TimeoutError, LocalEntryNotFoundError) as error:
        raise PublishInterrupted(
            f"Could not {doing} {repo_id}: {_line(error)}. Check the network and push again."
        ) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise PublishInterrupted(
            f"Could not {doing} {repo_id}: {where}{error.strerror or _line(error)}. Nothing more was sent; mend this "
            "and push again."
        ) from error
    except ValueError as error:  # the client's own: the Hub finds a card's metadata wrong, say
        raise PublishError(
            f"Could not {doing} {repo_id}: {_line(error)}. Mend what it says and push again."
        ) from error


def _check_id(repo_id: str) -> None:
    """Raise where an id names no namespace: what is asked and what is made would be two repositories."""
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    validate_repo_id(repo_id)
    if "/" not in repo_id:
        raise PublishError(f"`{repo_id}` is no repository id: it lacks the namespace. Use `namespace/name`.")


def _of_answer(error: Any, what: str) -> PublishError:
    status = status_of(error)
    later = may_do_later(status)
    said = "" if status in _ADVICE or not error.server_message else f" ({_line(error.server_message)})"
    advice = _ADVICE.get(status, "Push again later." if later else "Mend what it says and push again.")
    kind = PublishInterrupted if later else PublishError
    return kind(f"{what}: the Hub answered {status}{said}. {advice}")


def _line(said: object) -> str:
    """Return an error, by its kind where it is one, as one short line without secrets and local folders."""
    text = re.sub(r"\s+", " ", public(str(said))).strip()[:_LONGEST].rstrip(".")
    return f"{type(said).__name__} ({text})" if isinstance(said, BaseException) else text
