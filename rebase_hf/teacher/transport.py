"""AsyncInferenceClient with an HTTP client of its own, and answers whose shape is checked.

The client's default pool holds 100 connections and dies with PoolTimeout beyond (SYSTEMS.md, fact 5); its request hook
refuses every address under HF_HUB_OFFLINE, a local server included. An HTTP client of our own has neither, and leaves
huggingface_hub's global one, which is the user's, alone.
"""

import json
import re
from importlib.metadata import version
from typing import Any

from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

from rebase_hf.teacher.connections import AnswerTooLarge, HTTPClient, httpx
from rebase_hf.teacher.target import NO_KEY, is_loopback


class MalformedAnswer(ValueError):  # noqa: N818 - a kind of answer
    """The server said 200 and sent something that is no chat completion.

    Attributes:
        fault: The name of the fault in `faults.py`.
    """

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


REQUEST_ERRORS: tuple[type[Exception], ...] = (
    HfHubHTTPError,
    InferenceTimeoutError,
    TimeoutError,
    httpx.HTTPError,
    httpx.InvalidURL,
    MalformedAnswer,
    AnswerTooLarge,
)
"""Everything that a request can end in, short of an answer."""


READ = "read"


class TeacherClient(AsyncInferenceClient):
    """An AsyncInferenceClient for one server; made and used inside one event loop.

    Args:
        openai_schema: Send a JSON schema in OpenAI's form: huggingface_hub rewrites it to TGI's for any address, so
            it is put back just before it is sent.
        arguments: AsyncInferenceClient's own.
    """

    def __init__(self, *, openai_schema: bool = False, **arguments: Any) -> None:
        # In place of huggingface_hub's, which tells the server which torch and which agent run here.
        super().__init__(headers={"user-agent": f"rebase-hf/{version('rebase-hf')}"}, **arguments)
        self._openai_schema = openai_schema

    async def _get_async_client(self) -> Any:
        if self._async_client is None:
            client = HTTPClient(trust_env=not is_loopback(self.model or ""))
            self._async_client = await self.exit_stack.enter_async_context(client)
        return self._async_client

    async def _inner_post(self, request_parameters: Any, *, stream: bool = False) -> Any:
        body = request_parameters.json
        if self._openai_schema and body and "value" in body.get("response_format", {}):
            body["response_format"] = openai_format(body["response_format"]["value"])
        answer = await super()._inner_post(request_parameters, stream=stream)
        return {READ: read_answer(self._without_key(answer))} if isinstance(answer, bytes) else answer

    async def complete(self, messages: Any, **arguments: Any) -> dict[str, Any]:
        """Return what `read_answer` reads of the answer to a chat; the arguments are those of `chat_completion`.

        huggingface_hub keeps a field that it does not know as it is. So the answer passes through it in such a field:
        parsed into its own five dataclasses, each copied into a dict, each row would cost more CPU for nothing.

        Raises:
            REQUEST_ERRORS: There is no answer.
        """
        answer: dict[str, Any] = (await self.chat_completion(messages, **arguments))[READ]
        return answer | {"text": self.hide_key(answer["text"])}

    def hide_key(self, text: str) -> str:
        """Return `text` without the key, should a server have repeated it."""
        if self.token in (None, NO_KEY):
            return text
        return re.sub(re.escape(str(self.token)), "***", text, flags=re.IGNORECASE)

    def _without_key(self, body: bytes) -> bytes:
        # Before anything of it is shown or cut: what is left of a key that was cut is not found any more.
        return body if self.token in (None, NO_KEY) else body.replace(str(self.token).encode(), b"***")

    async def close(self) -> None:
        """Close the connections."""
        await self.exit_stack.aclose()
        self._async_client = None


def openai_format(schema: Any) -> dict[str, Any]:
    """Return OpenAI's `response_format` for a JSON schema."""
    strict = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(
        schema.get("properties", ())
    )
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}}


def read_answer(body: bytes) -> dict[str, Any]:
    """Return what counts of a chat completion: text, finish_reason, and the tokens where the server tells them.

    huggingface_hub takes any JSON for an answer: an error with status 200 has `choices=None` there.

    Raises:
        MalformedAnswer: It is no chat completion with a text in it.
    """
    try:
        answer = json.loads(body)
    except RecursionError:
        raise MalformedAnswer("unreadable_answer", "JSON nested too deeply") from None
    except ValueError as error:
        # Not `from error`: a UnicodeDecodeError holds the whole body.
        raise MalformedAnswer("unreadable_answer", f"not JSON ({error.__class__.__name__}): {body[:120]!r}") from None
    if not isinstance(answer, dict):
        raise MalformedAnswer("unreadable_answer", f"JSON of type {type(answer).__name__}, expected an object")
    if answer.get("error"):
        raise MalformedAnswer("error_in_answer", f"status 200 with an error: {_shown(answer['error'])}")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise MalformedAnswer("empty_answer", f"choices is {_shown(choices)}, expected a list with an answer")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or not content:
        raise MalformedAnswer("empty_answer", f"content is {_shown(content)}, expected a text")
    reason, usage = choice.get("finish_reason"), answer.get("usage")
    read = {"text": content, "finish_reason": reason if isinstance(reason, str) else "stop"}
    return read | {name: _count(usage, name) for name in ("prompt_tokens", "completion_tokens")}


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)[:200]
    except RecursionError:
        return f"a nested {type(value).__name__}"
