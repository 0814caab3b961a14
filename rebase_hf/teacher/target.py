"""Teacher: whom to ask and within which limits. Settings only, so it can be pickled, hashed and shown."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from rebase_hf.errors import TeacherRefused

Kind = Literal["endpoint", "few-shot", "local", "provider", "hf-endpoint", "none"]
DialectName = Literal["tgi", "vllm", "llama.cpp", "transformers", "openai", "provider", "none"]

NO_KEY = "none"
"""Sent where there is no key: with an empty one, huggingface_hub would send the user's saved HF token to any URL."""

KINDS: Mapping[Kind, str] = {
    "endpoint": "a URL",
    "provider": "a model id",
    "hf-endpoint": "endpoint:NAMESPACE/NAME",
    "local": "local:FOLDER_OR_MODEL_ID",
    "few-shot": "few-shot",
    "none": "none",
}
_SERVERS: tuple[Kind, ...] = ("endpoint", "provider", "hf-endpoint", "local")
# The rest says something of every kind: a limit on what costs is kept by a teacher that costs nothing, too.
_BELONGS_TO: Mapping[str, tuple[Kind, ...]] = {
    "model": ("endpoint", "hf-endpoint", "few-shot"),
    "api_key_env": ("endpoint", "provider", "hf-endpoint"),
    "provider": ("provider",),
    "bill_to": ("provider",),
    "pause_after": ("hf-endpoint",),
    **dict.fromkeys(("temperature", "max_tokens", "max_concurrency", "timeout", "dialect"), _SERVERS),
}

HF_HOSTS = (".endpoints.huggingface.cloud", "router.huggingface.co")
FORMS = "a URL, a model id such as org/model, endpoint:NAMESPACE/NAME, local:FOLDER_OR_MODEL_ID, few-shot, or none"
_MODEL_ID = re.compile(r"[\w.-]+/[\w.-]+\Z")
_HF_ENDPOINT = re.compile(r"endpoint:[a-z0-9][\w.-]*/[a-z0-9][\w.-]*\Z", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Teacher:
    """Whom to ask, and within which limits.

    An option that would do nothing, for another kind of target than those it belongs to, is refused (TypeError).

    Attributes:
        target: A URL, a model id served by an Inference Provider, `endpoint:<namespace/name>`,
            `local:<model id or folder>`, `few-shot`, or `none` for a method that asks nobody.
        model: Which of a server's models, None takes the one it serves; the base model of `few-shot`.
        api_key_env: NAME of the environment variable that holds the key. The key itself is never kept here.
        temperature: Wins over what the method asks for; so does `max_tokens` (of one answer).
        max_concurrency: Most requests in flight; None lets the server's limit and its 429s decide.
        max_requests: Stop after so many requests, retries included; journalled answers are free.
        max_tokens_total: Stop at so many tokens, prompts and answers together.
        max_cost: Stop at this cost; needs `price_per_million`.
        price_per_million: Price of a million prompt tokens and of a million completion tokens.
        timeout: Seconds that one request may take in all, from sending to the last byte.
        dialect: How the server takes a JSON schema; None finds out by probing.
        provider: Which Inference Provider, for a model id.
        bill_to: Which organisation pays, for a model id.
        pause_after: Pause an `endpoint:` that was used when the run is over, however it ends.
    """

    target: str
    model: str | None = field(default=None, kw_only=True)
    api_key_env: str | None = field(default=None, kw_only=True)
    temperature: float | None = field(default=None, kw_only=True)
    max_tokens: int | None = field(default=None, kw_only=True)
    max_concurrency: int | None = field(default=None, kw_only=True)
    max_requests: int | None = field(default=None, kw_only=True)
    max_tokens_total: int | None = field(default=None, kw_only=True)
    max_cost: float | None = field(default=None, kw_only=True)
    price_per_million: tuple[float, float] | None = field(default=None, kw_only=True)
    timeout: float = field(default=120.0, kw_only=True)
    dialect: DialectName | None = field(default=None, kw_only=True)
    provider: str = field(default="auto", kw_only=True)
    bill_to: str | None = field(default=None, kw_only=True)
    pause_after: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.target, str) or not self.target:
            raise TypeError(f"A teacher's target is {self.target!r}; expected a text: {FORMS}.")
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            if name.startswith("max_") and value is not None and (isinstance(value, bool) or not value > 0):
                raise TypeError(f"Teacher({name}={value!r}): expected a number above zero, or None for no limit.")
        self._refuse_odd_numbers()
        if self.max_cost is not None and self.price_per_million is None:
            raise TypeError(
                "Teacher(max_cost=...) needs price_per_million=(prompt, completion) to know what is spent (--price)."
            )
        if self.target.startswith(("http://", "https://")):
            self._refuse_secrets_in_address()
        self._refuse_idle_options()

    def _refuse_odd_numbers(self) -> None:
        if not 0 < self.timeout < inf:
            raise TypeError(f"Teacher(timeout={self.timeout!r}): expected a number of seconds above zero.")
        if self.temperature is not None and not 0 <= self.temperature < inf:
            raise TypeError(f"Teacher(temperature={self.temperature!r}): expected a number from 0 on.")
        prices = self.price_per_million
        if prices is not None and (len(prices) != 2 or not all(0 <= price < inf for price in prices)):
            raise TypeError(
                f"Teacher(price_per_million={prices!r}): expected two numbers from 0 on, the price of a million "
                "prompt tokens and of a million completion tokens."
            )
        if self.dialect is not None and self.dialect not in get_args(DialectName):
            raise TypeError(f"Teacher(dialect={self.dialect!r}): expected one of {', '.join(get_args(DialectName))}.")

    def _refuse_idle_options(self) -> None:
        kind = self._known_kind()
        if kind is None:  # whoever asks for the kind is told
            return
        for option in fields(self):
            kinds = _BELONGS_TO.get(option.name)
            if kinds is not None and kind not in kinds and getattr(self, option.name) != option.default:
                raise TypeError(
                    f"Teacher({option.name}=...) does nothing for `{self.target}`, which is {KINDS[kind]}: it belongs "
                    f"to {', '.join(KINDS[k] for k in kinds)}. Leave it out (--{option.name.replace('_', '-')})."
                )

    def _refuse_secrets_in_address(self) -> None:
        # An address is written to logs, reports and cache keys, so nothing secret may stand in it.
        parts = urlsplit(self.target)
        if parts.username or parts.password or parts.query:
            raise TeacherRefused(
                f"The address {shown(self.target)} was given with a user name, a password or a query in it; expected "
                "scheme, host, port and path. Put the key in an environment variable and name it: --api-key-env VAR.",
                url=shown(self.target),
            )

    @classmethod
    def of(cls, value: "Teacher | str") -> "Teacher":
        """Return `value` as a Teacher."""
        return value if isinstance(value, Teacher) else cls(value)

    @property
    def kind(self) -> Kind:
        """What kind of teacher the target names.

        Raises:
            TeacherRefused: It is none of the known forms.
        """
        kind = self._known_kind()
        if kind is not None:
            return kind
        hint = ""
        if ":" in self.target and not self.target.startswith("endpoint:"):
            hint = f" Did you mean http://{self.target}?"
        raise TeacherRefused(f"Teacher `{self.target}` is not known; expected {FORMS}.{hint}")

    def _known_kind(self) -> Kind | None:
        if self.target in ("few-shot", "none"):
            return "few-shot" if self.target == "few-shot" else "none"
        if self.target.startswith(("http://", "https://")):
            return "endpoint"
        if self.target.startswith("local:"):
            return "local"
        if _HF_ENDPOINT.match(self.target):
            return "hf-endpoint"
        if _MODEL_ID.match(self.target) and not self.target.startswith("."):
            return "provider"
        return None

    @property
    def location(self) -> str:
        """What follows the target's prefix: the URL, the folder, the name or the model id."""
        return self.target.removeprefix("local:").removeprefix("endpoint:").rstrip("/")


def shown(url: str) -> str:
    """Return a URL without credentials, query and fragment: fit to be shown and stored."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def takes_hf_token(url: str) -> bool:
    """Whether a URL is one of the Hugging Face hosts that may be sent a Hugging Face token."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host.endswith(h) if h[0] == "." else host == h for h in HF_HOSTS)


def is_hugging_faces(teacher: Teacher) -> bool:
    """Whether a teacher is hosted by Hugging Face, so that a Hugging Face token may be of use to it."""
    return teacher.kind in ("provider", "hf-endpoint") or takes_hf_token(teacher.target)


def is_hf_token(key: str) -> bool:
    """Whether a key is a Hugging Face token, as huggingface_hub tells it from a provider's own key."""
    return key.startswith("hf_")


def find_key(teacher: Teacher, url: str | None, token: str | None = None) -> str:
    """Return the key to send to `url` (None: to Hugging Face itself), or NO_KEY.

    A variable named by `api_key_env` goes wherever the user sends it, before anything else. Hugging Face's own hosts
    get `token`, else the token that is saved or in the environment. Any other host gets `token` alone, where that is
    no Hugging Face token: then it is a key that the user passed for this very host.

    Raises:
        TeacherRefused: The variable named by `api_key_env` is not set, what was found is no key, or `token` is a
            Hugging Face token and `url` another's.
    """
    address = shown(url) if url else None
    if teacher.api_key_env is not None:
        key = os.environ.get(teacher.api_key_env, "").strip()
        if not key:
            raise TeacherRefused(
                f"The environment variable {teacher.api_key_env} (--api-key-env) is not set or empty; expected it to "
                f"hold the teacher's key. Set it: export {teacher.api_key_env}=...",
                url=address,
            )
        return _plain(key, f"The environment variable {teacher.api_key_env} (--api-key-env)", address)
    if url is None or takes_hf_token(url):
        if token:
            return _plain(token, "The token that was given (token=)", address)
        from huggingface_hub import get_token

        return get_token() or NO_KEY
    if not token:
        return NO_KEY
    if is_hf_token(token):
        raise TeacherRefused(
            f"A Hugging Face token was given (token=) for the teacher at {address}, which is no address of Hugging "
            "Face's; it is not sent there. Leave it out, or name the variable that holds that server's own key: "
            "--api-key-env VAR.",
            url=address,
        )
    return _plain(token, "The key that was given (token=)", address)


def _plain(key: str, called: str, address: str | None) -> str:
    """Return a key, unless no header can hold it: the error of an HTTP library would show it."""
    if not re.fullmatch(r"[!-~]+", key):
        raise TeacherRefused(
            f"{called} holds characters that no key has: a blank, a line break or a letter that is not ASCII. Give "
            "the key alone.",
            url=address,
        )
    return key
