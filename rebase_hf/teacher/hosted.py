"""Teachers that Hugging Face hosts: an Inference Endpoint by name, and Inference Providers by model id.

To identify one wakes nothing and costs nothing. Only the first request that the journal can't answer does.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.endpoint import EndpointAsker
from rebase_hf.teacher.hosted_endpoint import HostedEndpoint
from rebase_hf.teacher.hub_calls import wait_until_ready
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.providers import find_route, provider_key
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import Teacher

ROUTER = "https://router.huggingface.co"


async def open_hosted(
    teacher: Teacher,
    journal: Journal,
    *,
    token: str | None = None,
    give_up_after: float = 600.0,
    spent: Mapping[str, Any] | None = None,
) -> EndpointAsker:
    """Return an Inference Endpoint; it is resumed and waited for when something has to be asked.

    Raises:
        TeacherRefused: There is no token, no such endpoint, or no right to use it.
        TeacherUnavailable: Hugging Face can't be asked for it, and it was never seen from here.
    """
    hosted = HostedEndpoint(teacher, token)
    return EndpointAsker(
        teacher,
        await asyncio.to_thread(hosted.describe),
        hosted.key,
        journal,
        give_up_after=give_up_after,
        prepare=lambda: hosted.wake(give_up_after),
        confirm=hosted.confirm,
        on_close=hosted.close,
        spent=spent,
    )


def identify_hosted(teacher: Teacher, token: str | None = None) -> TeacherIdentity:
    """Return which model and revision an Inference Endpoint runs, without waking it; raises as `open_hosted`."""
    return HostedEndpoint(teacher, token).describe().identity


def open_provider(
    teacher: Teacher,
    journal: Journal,
    *,
    token: str | None = None,
    give_up_after: float = 600.0,
    spent: Mapping[str, Any] | None = None,
) -> EndpointAsker:
    """Return a model served by an Inference Provider, ready to be asked.

    Raises:
        TeacherRefused: There is no key, or not one that may be sent where it would go.
    """
    key = provider_key(teacher, token)
    identity = TeacherIdentity(teacher.location, None, "provider")
    dialect = teacher.dialect if teacher.dialect not in (None, "openai") else "provider"
    served = Served(identity, ROUTER, dialect, teacher.location)
    return EndpointAsker(
        teacher,
        served,
        key,
        journal,
        give_up_after=give_up_after,
        prepare=lambda: wait_until_ready(lambda: find_route(teacher, key, served), teacher.target, give_up_after),
        arguments={"model": teacher.location, "provider": teacher.provider, "bill_to": teacher.bill_to},
        spent=spent,
    )
