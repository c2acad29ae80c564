"""Metering for the OpenAI Python clients and compatible ones. This package does not need ``openai``.

Example::

    from openai import OpenAI
    from quotagate import Client
    from quotagate.openai import metered

    client = Client()
    llm = metered(OpenAI(), client, user_id="u_42")
    answer = llm.chat.completions.create(model="small", messages=messages, max_tokens=500)
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, cast

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
    min_tokens: int | None = None,
    fit_field: Literal["completion_tokens", "quantity"] = "completion_tokens",
    ttl_seconds: int = 60,
) -> L:
    """A client like ``llm`` whose ``chat.completions.create`` and ``responses.create`` are metered for one user.

    Before a call it reserves an estimate of the prompt plus the call's own maximum (``max_tokens``,
    ``max_completion_tokens``, ``max_output_tokens``; without these the ``max_tokens`` given here), as ``quantity`` in
    tokens and as the metadata ``prompt_tokens`` and ``completion_tokens``, with ``model`` and ``provider``. After the
    call it commits the figures of ``usage``, or releases if the call failed. A stream is settled when it ends, is
    closed or garbage-collected; if it stops before the provider reports its usage, the figures are estimated from the
    text. A denial raises ``Denied`` before the provider is called.

    With ``min_tokens`` it reserves as much of the maximum as fits, at least this many tokens, and lowers the call's
    own maximum to that. If your limits measure the quantity instead of ``completion_tokens``, add
    ``fit_field="quantity"``. Without an answer of the gateway the call gets ``min_tokens``.

    Use an ``AsyncClient`` with an ``AsyncOpenAI``, and a ``Client`` with an ``OpenAI``. Wrappers are cheap: create one
    for each request. Calls that are not metered (embeddings, files …) are only on ``llm`` itself.

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
        "least": min_tokens,
        "fit_field": fit_field,
        "ttl_seconds": ttl_seconds,
    }
    if isinstance(client, AsyncClient):
        return cast(L, AsyncMetered(llm, client, **rest))
    return cast(L, Metered(llm, client, **rest))
