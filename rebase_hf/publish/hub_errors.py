"""What the Hub's client raises, as one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public


@contextmanager
def hub_errors(repo_id: str, doing: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    transport = import_module("httpx2" if find_spec("httpx2") else "httpx").HTTPError
    try:
        yield
    except HFValidationError as error:
        raise PublishError(f"`{repo_id}` is no repository id: {error} Use `namespace/name`.") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = {
            401: "The token is wrong or has expired: log in again with `hf auth login`.",
            403: "The token may not write there: use one with write access to that namespace.",
            412: "Somebody else committed meanwhile; nothing was changed. Push again.",
        }.get(status or 0, "Nothing was changed; push again later.")
        raise PublishError(f"Could not {doing} {repo_id}: the Hub answered {status}. {advice}") from error
    except (transport, OSError) as error:
        raise PublishError(
            f"Could not {doing} {repo_id}: {type(error).__name__} ({' '.join(public(str(error)).split())[:200]}). "
            "Check the network and push again."
        ) from error
