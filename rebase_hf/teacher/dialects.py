"""Which server stands at an address: found by probing, with the model it serves and how it takes a JSON schema.

| server             | told by                           | a schema goes as                                     |
|--------------------|-----------------------------------|------------------------------------------------------|
| TGI                | GET /info has `model_id`          | response_format {"type": "json_object", "value": S}  |
| vLLM               | GET /v1/models, owned_by vllm     | structured_outputs {"json": S} in the body           |
| llama.cpp          | GET /v1/models, owned_by llamacpp | response_format {"type": "json_object", "schema": S} |
| transformers serve | GET /openapi.json has /load_model | not at all: it ignores response_format               |
| any other          | -                                 | response_format {"type": "json_schema", ...}, OpenAI |

Whatever a server promises, answers are validated on our side.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.faults import one_line
from rebase_hf.teacher.refusals import name_some, refused_key_message, wrong_model_message
from rebase_hf.teacher.served import Served, remember
from rebase_hf.teacher.target import NO_KEY, DialectName, Teacher, find_key, shown

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
REFUSED_PATIENCE = 3.0
UNKNOWN_MODEL = "unknown"
OWNERS: dict[str, DialectName] = {"vllm": "vllm", "llamacpp": "llama.cpp"}


def schema_arguments(dialect: DialectName, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of `chat_completion` that give a server of this kind a JSON schema."""
    if schema is None or dialect in ("transformers", "none"):
        return {}
    plain = schema if type(schema) is dict else json.loads(json.dumps(schema, default=dict))
    if dialect == "vllm":
        return {"extra_body": {"structured_outputs": {"json": plain}}}
    if dialect == "provider":
        from rebase_hf.teacher.transport import openai_format

        return {"response_format": openai_format(plain)}
    if dialect == "llama.cpp":
        return {"response_format": {"type": "json_object", "schema": plain}}
    # For `openai`, the client turns this into OpenAI's form just before sending; see transport.TeacherClient.
    return {"response_format": {"type": "json_object", "value": plain}}


def probe(teacher: Teacher, *, url: str | None = None, token: str | None = None) -> Served:
    """Return what stands at a teacher's address, and note it as last seen there.

    Nothing is generated. A connection that is refused is tried again for a few seconds: servers take time to start.

    Args:
        teacher: The settings; its model and dialect win over what is found.
        url: The address, where it is not the teacher's target.
        token: As in `open_teacher`.

    Raises:
        TeacherRefused: The key or the proxy is wrong, or the model that was asked for is not served.
        TeacherUnavailable: Nothing answers there, or only that it is busy or starting (then with that status).
    """
    url = url or teacher.target
    key = find_key(teacher, url, token)
    from rebase_hf.teacher.connections import httpx, questioner

    headers = {} if key == NO_KEY else {"Authorization": f"Bearer {key}"}
    until = time.monotonic() + REFUSED_PATIENCE
    with questioner(url, headers=headers, timeout=PROBE_SECONDS) as client:
        while True:
            failed: str
            try:
                served = _Probe(client, teacher, url).run()
            except httpx.HTTPError as error:
                failed = one_line(f"{type(error).__name__}: {error}")
            else:
                remember(teacher, served)
                return served
            if time.monotonic() >= until:
                break
            time.sleep(0.2)
    raise TeacherUnavailable(
        f"No teacher answers at {shown(url)} ({failed}). Start it there, or correct the address (--teacher).",
        url=shown(url),
    )


class _Probe:
    """The questions of one probe, and what they told."""

    def __init__(self, client: Any, teacher: Teacher, url: str) -> None:
        self.client = client
        self.teacher = teacher
        self.url = shown(url)
        self.root = server_root(url)

    def run(self) -> Served:
        info = self._get("/info")
        listed = self._get("/v1/models")
        models = _models(listed)
        if isinstance(info, dict) and isinstance(info.get("model_id"), str):
            return self._tgi(info, models)
        owners = {str(model.get("owned_by", "")).lower() for model in models}
        dialect = next((OWNERS[owner] for owner in OWNERS if owner in owners), None)
        names = [str(model["id"]) for model in models]
        if dialect is None and self._is_transformers():
            return self._served("transformers", self._pinned() or self._choose(names, listed=False))
        return self._served(dialect or "openai", self._choose(names))

    def _get(self, path: str) -> Any:
        """Return the JSON at a path, None where there is none; raise where the server refuses or is not ready."""
        response = self.client.get(self.root + path)
        if response.status_code in (401, 403) and path == "/v1/models":
            raise TeacherRefused(refused_key_message(self.url, response.status_code), url=self.url, status=401)
        if response.status_code in (429, 502, 503):
            raise TeacherUnavailable(
                f"The teacher at {self.url} is busy or still starting ({response.status_code}). Run it again later.",
                url=self.url,
                status=response.status_code,
            )
        if response.status_code != 200:
            return None
        try:
            return response.json()
        except (ValueError, RecursionError):
            return None

    def _tgi(self, info: Mapping[str, Any], models: list[dict[str, Any]]) -> Served:
        model_id = info["model_id"]
        known = (model_id, *(str(model["id"]) for model in models), "tgi")
        # TGI answers a name that it does not know with its base model, so a wrong name must be caught here.
        if self.teacher.model not in (None, *known):
            raise TeacherRefused(
                wrong_model_message(self.url, str(self.teacher.model), [model_id]), url=self.url, status=404
            )
        limit = info.get("max_concurrent_requests")
        revision = info.get("model_sha")
        model = self.teacher.model if self.teacher.model not in (None, "tgi") else model_id
        return self._served(
            "tgi",
            str(model),
            revision=revision if isinstance(revision, str) else None,
            # A little is left to others: TGI has no waiting room, and turns away what is above its limit.
            max_concurrency=max(1, limit - max(1, limit // 16)) if isinstance(limit, int) else None,
        )

    def _served(
        self, dialect: DialectName, model: str, *, revision: str | None = None, max_concurrency: int | None = None
    ) -> Served:
        return Served(
            identity=TeacherIdentity(model=model, revision=revision, kind="endpoint"),
            url=self.url,
            dialect=self.teacher.dialect or dialect,
            model=model,
            max_concurrency=max_concurrency,
        )

    def _is_transformers(self) -> bool:
        described = self._get("/openapi.json")
        paths = described.get("paths") if isinstance(described, dict) else None
        return isinstance(paths, dict) and "/load_model" in paths

    def _pinned(self) -> str | None:
        """Return the one model that `transformers serve MODEL` serves; its refusal of any other names it.

        Its /v1/models lists what is in the Hub cache instead, which may not hold this one.
        """
        if self.teacher.model is not None:
            return None
        response = self.client.post(
            f"{self.root}/v1/chat/completions",
            json={"model": "which-model-is-served", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1},
        )
        found = re.search(r"Server is pinned to '(.+?)'; requested", response.text)
        return found.group(1) if found else None

    def _choose(self, names: list[str], *, listed: bool = True) -> str:
        """Return the model to ask for: the one asked for, else the only one there is."""
        asked = self.teacher.model
        if asked is not None:
            if listed and names and asked not in names:
                raise TeacherRefused(wrong_model_message(self.url, asked, names), url=self.url, status=404)
            return asked
        if len(names) > 1:
            raise TeacherRefused(
                f"The teacher at {self.url} serves {len(names)} models, {name_some(names)}; expected one of them. "
                "Name it with --model.",
                url=self.url,
            )
        if not names:
            logger.warning(
                "%s does not say which model it serves; it is recorded as `unknown`. Name it with --model.", self.url
            )
        return names[0] if names else UNKNOWN_MODEL


def server_root(url: str) -> str:
    """Return the address that a server's routes start from, whichever of them the user gave.

    Example:
        >>> server_root("http://127.0.0.1:8080/v1/chat/completions")
        'http://127.0.0.1:8080'
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _models(listed: Any) -> list[dict[str, Any]]:
    data = listed.get("data") if isinstance(listed, dict) else None
    return [m for m in data if isinstance(m, dict) and isinstance(m.get("id"), str)] if isinstance(data, list) else []
