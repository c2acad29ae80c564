"""Metering of the OpenAI Python clients, and of all that speak their wire format. The package ``openai`` is not needed
by this one.

Example::

    from openai import OpenAI
    from quotagate import Client
    from quotagate.openai import metered

    client = Client(api_key=os.environ["QG_KEY"])
    llm = metered(OpenAI(), client, user_id="u_42")
    answer = llm.chat.completions.create(model="small", messages=messages, max_tokens=500)
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from quotagate._async.client import AsyncClient
from quotagate._async.completions import AsyncMetered
from quotagate._sync.client import Client
from quotagate._sync.completions import Metered
from quotagate.results import Metadata

L = TypeVar("L")


def metered(
    llm: L,
    client: Client | AsyncClient,
    *,
    user_id: str,
    event: str = "llm.chat",
    metadata: Metadata | None = None,
    provider: str = "openai",
    max_tokens: int = 4096,
    ttl_seconds: int = 60,
) -> L:
    """A client like ``llm`` whose ``chat.completions.create`` and ``responses.create`` are metered for one user.

    Before a call it reserves an estimate of the prompt plus the call's own maximum (``max_tokens``,
    ``max_completion_tokens``, ``max_output_tokens``; else ``max_tokens`` given here), as ``quantity`` in tokens and as
    the metadata ``prompt_tokens`` and ``completion_tokens``, with ``model`` and ``provider``. After it, it commits the
    figures of ``usage``. A failed call is released. A stream is settled when it ends, is closed or dropped; for
    one that is stopped before the provider told its usage, the figures are estimated from the text. A denial is raised
    as ``LimitReached`` before the provider is called.

    Give an ``AsyncClient`` with an ``AsyncOpenAI``, a ``Client`` with an ``OpenAI``. It is cheap: make one per request.
    What is not metered (embeddings, files …) is not there; call it on ``llm`` itself.

    Example::

        with metered(OpenAI(), client, user_id="u_42").chat.completions.create(
            model="small", messages=messages, max_tokens=500, stream=True
        ) as stream:
            for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="")
    """
    rest: dict[str, Any] = {
        "user_id": user_id,
        "event": event,
        "metadata": dict(metadata or {}),
        "provider": provider,
        "most": max_tokens,
        "ttl_seconds": ttl_seconds,
    }
    if isinstance(client, AsyncClient):
        return cast(L, AsyncMetered(llm, client, **rest))
    return cast(L, Metered(llm, client, **rest))
