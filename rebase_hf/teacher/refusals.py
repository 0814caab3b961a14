"""The lines that tell why a teacher will never answer, and what to do about it."""

from collections.abc import Sequence

from rebase_hf.errors import TeacherRefused
from rebase_hf.teacher.faults import REFUSED_KEY, WRONG_MODEL, Incident
from rebase_hf.teacher.served import Served


def wrong_model_message(url: str, asked: str, models: Sequence[str]) -> str:
    """Return the line for a model that is not served."""
    serves = f"it serves {name_some(models)}" if models else "it does not say which models it serves"
    return f"The teacher at {url} does not serve the model `{asked}`; {serves}. Name one that it serves with --model."


def refused_key_message(url: str, status: int) -> str:
    """Return the line for a key that is missing or wrong."""
    return (
        f"The teacher at {url} answered {status}: its key is missing or wrong. Put the key in an environment variable "
        "and name that: --api-key-env VAR."
    )


def name_some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"`{name}`" for name in names[:5]) + more


def refusal(incident: Incident, served: Served) -> TeacherRefused:
    """Return the error for a fault that no request gets past."""
    url, model = served.url, served.model
    if incident.fault is REFUSED_KEY:
        message = refused_key_message(url, incident.status or 401)
    elif incident.fault is WRONG_MODEL:
        pinned = incident.detail.partition("pinned to '")[2].partition("'")[0]
        message = wrong_model_message(url, model, [pinned] if pinned else [])
        message += "" if pinned else f" It said: {incident.detail}"
    else:
        message = (
            f"The teacher at {url} refused a request for the model `{model}` ({incident.detail}); expected a chat "
            "completion. Check the address (--teacher), the model (--model), the dialect (Teacher(dialect=))."
        )
    return TeacherRefused(message, url=url, status=incident.status)
