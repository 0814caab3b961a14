"""Inference Providers: which key goes where, and who serves a model."""

from dataclasses import replace
from urllib.parse import urlsplit

from rebase_hf.errors import TeacherError, TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.hub_calls import hf_key, said_by, status_of, within_time
from rebase_hf.teacher.refusals import name_some
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import Teacher, is_hf_token, takes_hf_token


def provider_key(teacher: Teacher, token: str | None) -> str:
    """Return the key for a provider: a Hugging Face token, for the router, or the provider's own.

    huggingface_hub tells them apart by the `hf_` alone, and sends any other to the provider.
    """
    key = hf_key(teacher, token)
    if is_hf_token(key):
        return key
    if teacher.api_key_env is None:
        raise TeacherRefused(
            f"The token found for `{teacher.target}` does not begin with hf_, so it would be sent to the provider "
            "itself; expected a Hugging Face token. A provider's own key is named by --api-key-env VAR."
        )
    if teacher.provider == "auto" or teacher.bill_to is not None:
        needs = "provider `auto`" if teacher.provider == "auto" else f"bill_to `{teacher.bill_to}`"
        raise TeacherRefused(
            f"{teacher.api_key_env} (--api-key-env) holds no Hugging Face token (hf_...), and {needs} works with one "
            "only. Name the provider whose key it is, without bill_to, or a variable that holds a Hugging Face token."
        )
    return key


def find_route(teacher: Teacher, key: str, served: Served) -> Served | str:
    """Return where a provider's model will be asked, or why that can't be said yet.

    What huggingface_hub finds out here it remembers: it would ask the Hub inside the event loop otherwise.

    Raises:
        TeacherRefused: The Hub has no such model, nobody serves it, or not the provider that was named.
    """
    model, provider = teacher.location, teacher.provider
    try:
        serving, url = within_time(lambda: _ask_hub(teacher, key), lambda error: _explain(error, model, key))
    except TeacherUnavailable as error:
        return str(error)
    if url is None and not serving:
        raise TeacherRefused(
            f"No Inference Provider serves `{model}` as a chat model. Take one that is served (huggingface.co/"
            "models?inference_provider=all), or serve it yourself: endpoint:NAMESPACE/NAME, a URL, or local:ID."
        )
    if url is None:
        raise TeacherRefused(
            f"The provider `{provider}` can't be asked for `{model}`; it is served by {name_some(sorted(serving))}. "
            "Name one of these, or `auto`."
        )
    if is_hf_token(key) and not takes_hf_token(url):
        raise TeacherRefused(f"A Hugging Face token would be sent to {url} for `{model}`; it is sent nowhere.")
    parts = urlsplit(url)
    return replace(served, url=f"{parts.scheme}://{parts.netloc}")


def _ask_hub(teacher: Teacher, key: str) -> tuple[list[str], str | None]:
    """Return who serves a model, and the address that requests will go to; None where there is none."""
    from huggingface_hub import HfApi

    # No public name of huggingface_hub tells where a provider is asked. tests/teacher/test_hosted.py pins this one;
    # tests/test_versions.py runs it with the lowest and the newest huggingface_hub.
    from huggingface_hub.inference._providers import get_provider_helper

    model, provider = teacher.location, teacher.provider
    info = HfApi(token=key if is_hf_token(key) else None).model_info(model, expand=["inferenceProviderMapping"])
    serving = [str(m.provider) for m in info.inference_provider_mapping or () if m.task == "conversational"]
    if provider == "auto" and not serving:
        return serving, None
    try:
        helper = get_provider_helper(provider, task="conversational", model=model)  # type: ignore[arg-type]
        request = helper.prepare_request(inputs=[], parameters={}, headers={}, model=model, api_key=key)
    except ValueError:
        return serving, None
    return serving, str(request.url)


def _explain(error: Exception, model: str, key: str) -> TeacherError:
    status, said = status_of(error), said_by(error, key)
    if status is not None and status < 500 and status != 429:
        return TeacherRefused(
            f"The Hub answered {status} for the model `{model}`; expected the id of a model that it has and that "
            "your token may see. Correct the id, or accept the model's terms on its page.",
            status=status,
        )
    return TeacherUnavailable(f"The Hub could not be asked who serves `{model}` ({said}).", status=status)
