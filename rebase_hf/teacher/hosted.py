"""Teachers that Hugging Face hosts: an Inference Endpoint by name, and Inference Providers by model id."""

import asyncio
from typing import Any

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.dialects import probe
from rebase_hf.teacher.endpoint import EndpointAsker
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.refusals import refused_key_message
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import NO_KEY, Teacher, find_key

RESUME_SECONDS = 1200
ROUTER = "https://router.huggingface.co"


def _hf_key(teacher: Teacher, token: str | None) -> str:
    key = find_key(teacher, None, token)
    if key == NO_KEY:
        raise TeacherRefused(
            f"The teacher `{teacher.target}` is hosted by Hugging Face, and no token was found; expected one in "
            "HF_TOKEN, saved by `hf auth login`, or named by --api-key-env."
        )
    return key


def open_provider(
    teacher: Teacher, journal: Journal, *, token: str | None = None, give_up_after: float = 600.0
) -> EndpointAsker:
    """Return a model served by an Inference Provider, ready to be asked.

    Raises:
        TeacherRefused: There is no token.
    """
    identity = TeacherIdentity(teacher.location, None, "provider")
    return EndpointAsker(
        teacher,
        Served(identity, ROUTER, teacher.dialect or "openai", teacher.location),
        _hf_key(teacher, token),
        journal,
        give_up_after=give_up_after,
        arguments={"model": teacher.location, "provider": teacher.provider, "bill_to": teacher.bill_to},
    )


def _find(teacher: Teacher, token: str | None) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from rebase_hf.teacher.transport import httpx

    namespace, _, name = teacher.location.rpartition("/")
    try:
        return HfApi(token=_hf_key(teacher, token)).get_inference_endpoint(name, namespace=namespace or None)
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise TeacherRefused(refused_key_message(teacher.target, code), status=code) from None
        raise TeacherRefused(
            f"The Inference Endpoint `{teacher.location}` was not found ({code}); expected endpoint:NAMESPACE/NAME as "
            "on ui.endpoints.huggingface.co. Correct the name.",
            status=code,
        ) from None
    except httpx.HTTPError as error:
        raise TeacherUnavailable(f"Hugging Face could not be asked for `{teacher.target}`: {error}") from None


def identify_hosted(teacher: Teacher, token: str | None = None) -> TeacherIdentity:
    """Return which model and revision an Inference Endpoint runs, without waking it."""
    return _identity(_find(teacher, token))


def _identity(endpoint: Any) -> TeacherIdentity:
    revision = endpoint.raw.get("model", {}).get("revision")
    return TeacherIdentity(str(endpoint.repository), revision, "hf-endpoint")


async def open_hosted(
    teacher: Teacher, journal: Journal, *, token: str | None = None, give_up_after: float = 600.0
) -> EndpointAsker:
    """Return an Inference Endpoint; it is resumed and waited for when something has to be asked."""
    endpoint = await asyncio.to_thread(_find, teacher, token)
    identity = _identity(endpoint)

    def wake() -> Served:
        from huggingface_hub.errors import InferenceEndpointError, InferenceEndpointTimeoutError

        try:
            url = str(endpoint.resume(running_ok=True).wait(timeout=RESUME_SECONDS).url)
        except InferenceEndpointTimeoutError:
            raise TeacherUnavailable(f"`{teacher.target}` was not ready after {RESUME_SECONDS} s.") from None
        except InferenceEndpointError as error:
            raise TeacherUnavailable(f"`{teacher.target}` could not be started: {error}") from None
        found = probe(teacher, url=url, token=token)
        return Served(identity, found.url, found.dialect, found.model, found.max_concurrency)

    return EndpointAsker(
        teacher,
        Served(identity, teacher.target, teacher.dialect or "tgi", identity.model),
        _hf_key(teacher, token),
        journal,
        give_up_after=give_up_after,
        prepare=lambda: asyncio.to_thread(wake),
    )
