"""Metered OpenAI clients with a local provider."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from quotagate import AsyncClient, Client, LimitReached
from quotagate._completions import Completion, prompt_tokens
from quotagate.openai import metered
from tests.gateway import Sandbox, group
from tests.provider import WORDS, Provider

MESSAGES: Any = [{"role": "user", "content": "Say something about quotas."}]
Subscribed = Callable[..., str]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def llm(provider: Provider) -> Iterator[OpenAI]:
    with OpenAI(api_key="x", base_url=provider.url, max_retries=0) as llm:
        yield llm


@pytest.fixture
def user(subscribed: Subscribed) -> str:
    """A user whose plan counts tokens, cents by model, and calls."""
    per = {"prompt_tokens": "0.001", "completion_tokens": "0.002"}
    priced = {"event": "llm.*", "metadata": {"model": ["small", "breaks"]}, "measure": {"per": per}}
    return subscribed(
        group(1000, unit="tokens", measure="quantity"),
        {**group("100", unit="cents"), "matches": [priced]},
        group(100, measure="event"),
    )


def figures(client: Client, user: str) -> dict[str, tuple[object, object]]:
    return {counter.unit: (counter.used, counter.held) for counter in client.usage(user).counters}


def nothing_but(tokens: int, cents: str, calls: int) -> dict[str, tuple[object, object]]:
    return {"tokens": (tokens, 0), "cents": (Decimal(cents), 0), "count": (calls, 0)}


def test_reserves_the_maximum_and_commits_the_usage(client: Client, llm: OpenAI, provider: Provider, user: str) -> None:
    seen: list[object] = []
    original = llm.chat.completions.create

    def watched(**params: Any) -> Any:
        seen.append(figures(client, user)["tokens"])
        return original(**params)

    llm.chat.completions.create = watched  # type: ignore[method-assign]
    gated = metered(llm, client, user_id=user, metadata={"team": "search"})
    answer = gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=500)
    assert answer.choices[0].message.content == "".join(WORDS)
    estimate = prompt_tokens(MESSAGES)
    assert seen == [(0, 500 + estimate)]
    assert figures(client, user) == nothing_but(18, "0.025", 1)
    assert "stream_options" not in provider.calls[-1]


@pytest.mark.parametrize("asks_for_usage", [True, False])
def test_a_stream_commits_the_usage(
    client: Client, llm: OpenAI, provider: Provider, user: str, asks_for_usage: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asks_for_usage else {}
    stream = metered(llm, client, user_id=user).chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=500, stream=True, **options
    )
    chunks = list(stream)
    assert provider.calls[-1]["stream_options"] == {"include_usage": True}
    # A caller gets the chunk without choices only if it requests usage.
    assert len(chunks) == len(WORDS) + 1 + asks_for_usage
    assert all(chunk.choices for chunk in chunks[: len(WORDS) + 1])
    assert figures(client, user) == nothing_but(18, "0.025", 1)


def test_a_stream_that_is_closed_early_is_charged_for_what_it_produced(client: Client, llm: OpenAI, user: str) -> None:
    with metered(llm, client, user_id=user).chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=500, stream=True
    ) as stream:
        for number, _ in enumerate(stream):
            if number == 1:
                break
        assert figures(client, user)["tokens"] == (0, 500 + prompt_tokens(MESSAGES))
    produced = -(-len("".join(WORDS[:2])) // 4)
    assert figures(client, user)["tokens"] == (prompt_tokens(MESSAGES) + produced, 0)


def test_a_stream_that_is_dropped_is_settled(client: Client, llm: OpenAI, user: str) -> None:
    def begin() -> Any:
        return metered(llm, client, user_id=user).chat.completions.create(
            model="small", messages=MESSAGES, max_tokens=500, stream=True
        )

    for _ in begin():
        break
    gc.collect()
    used, held = figures(client, user)["tokens"]
    assert (used, held) == (prompt_tokens(MESSAGES) + 2, 0)
    begin()
    gc.collect()
    assert figures(client, user)["tokens"] == (used, 0)


def test_a_stream_that_breaks_is_charged_for_what_it_produced(client: Client, llm: OpenAI, user: str) -> None:
    stream = metered(llm, client, user_id=user).responses.create(
        model="breaks", input="Say something.", max_output_tokens=100, stream=True
    )
    kinds = [event.type for event in stream]
    assert kinds == ["response.created"] + ["response.output_text.delta"] * 2
    assert figures(client, user)["tokens"] == (4 + 3, 0)


def test_responses(client: Client, llm: OpenAI, user: str) -> None:
    gated = metered(llm, client, user_id=user)
    answer = gated.responses.create(model="small", input="Say something.", max_output_tokens=100)
    assert answer.output_text == "".join(WORDS)
    assert figures(client, user) == nothing_but(20, "0.027", 1)
    events = list(gated.responses.create(model="small", input="Say it again.", max_output_tokens=100, stream=True))
    assert events[-1].type == "response.completed"
    assert figures(client, user) == nothing_but(40, "0.054", 2)


def test_with_min_tokens_a_call_gets_as_many_tokens_as_fit(
    client: Client, llm: OpenAI, provider: Provider, user: str
) -> None:
    gated = metered(llm, client, user_id=user, min_tokens=100, fit_field="quantity")
    estimate = prompt_tokens(MESSAGES)
    gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=20_000)
    assert provider.calls[-1]["max_tokens"] == 1000 - estimate
    stream = gated.chat.completions.create(
        model="small", messages=MESSAGES, max_completion_tokens=20_000, n=2, stream=True
    )
    assert provider.calls[-1]["max_completion_tokens"] == (1000 - 18 - estimate) // 2
    assert provider.calls[-1]["stream_options"] == {"include_usage": True}
    list(stream)
    assert figures(client, user)["tokens"] == (36, 0)
    gated.responses.create(model="small", input="Say something.", max_output_tokens=20_000)
    assert provider.calls[-1]["max_output_tokens"] == 1000 - 36 - prompt_tokens("Say something.")
    # A call without a maximum gets what is left of the default.
    gated.chat.completions.create(model="small", messages=MESSAGES)
    assert provider.calls[-1]["max_completion_tokens"] == 1000 - 56 - estimate
    calls = len(provider.calls)
    with pytest.raises(LimitReached):
        gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=20_000, n=20)
    assert len(provider.calls) == calls


def test_min_tokens_fit_limits_that_measure_completion_tokens(
    client: Client, llm: OpenAI, provider: Provider, subscribed: Subscribed
) -> None:
    per = {"prompt_tokens": "1", "completion_tokens": "1"}
    user = subscribed(group(1000, unit="tokens", measure={"per": per}))
    gated = metered(llm, client, user_id=user, min_tokens=100)
    gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=20_000)
    assert provider.calls[-1]["max_tokens"] == 1000 - prompt_tokens(MESSAGES)
    gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=50)
    assert provider.calls[-1]["max_tokens"] == 50
    # Without a minimum, as in TypeScript, all of the maximum is reserved.
    gated = metered(llm, client, user_id=user, min_tokens=0)
    gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=50)
    assert provider.calls[-1]["max_tokens"] == 50


@pytest.mark.parametrize("least", [None, 0])
def test_without_min_tokens_a_call_keeps_its_maximum(least: int | None) -> None:
    params = {"model": "small", "messages": MESSAGES, "max_tokens": 50}
    completion = Completion(params, "openai", 4096, least, "completion_tokens", {})
    assert completion.fit() is None
    assert completion.limited(params, {}, chat=True) == params


def test_a_failed_call_is_released(client: Client, llm: OpenAI, user: str) -> None:
    gated = metered(llm, client, user_id=user)
    with pytest.raises(openai.BadRequestError):
        gated.chat.completions.create(model="down", messages=MESSAGES, max_tokens=500)
    assert figures(client, user) == nothing_but(0, "0", 0)


def test_a_denied_call_never_reaches_the_provider(client: Client, llm: OpenAI, provider: Provider, user: str) -> None:
    before = len(provider.calls)
    with pytest.raises(LimitReached) as denied:
        metered(llm, client, user_id=user).chat.completions.create(model="small", messages=MESSAGES)
    assert denied.value.decision.denied_by[0].requested == 4096 + prompt_tokens(MESSAGES)
    assert len(provider.calls) == before


def test_unmetered_calls_are_missing(client: Client, llm: OpenAI) -> None:
    gated = metered(llm, client, user_id="u")
    for reach in (
        lambda: gated.embeddings,
        lambda: gated.chat.with_raw_response,
        lambda: gated.chat.completions.parse,
    ):
        with pytest.raises(AttributeError, match="is not metered"):
            reach()


def test_messages_can_be_an_iterator(client: Client, llm: OpenAI, provider: Provider, user: str) -> None:
    gated = metered(llm, client, user_id=user)
    gated.chat.completions.create(model="small", messages=iter(MESSAGES), max_tokens=5)
    assert provider.calls[-1]["messages"] == MESSAGES
    assert figures(client, user) == nothing_but(18, "0.025", 1)


def test_embedded_images_are_not_counted_as_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 100_000, "format": "wav"}}
    assert prompt_tokens([{"role": "user", "content": [image, sound]}]) < 20


@pytest.fixture
async def asynchronous(sandbox: Sandbox, provider: Provider) -> AsyncIterator[tuple[AsyncClient, AsyncOpenAI]]:
    llm = AsyncOpenAI(api_key="x", base_url=provider.url, max_retries=0)
    async with sandbox.async_client() as client, llm:
        yield client, llm


@pytest.mark.anyio
async def test_asynchronously(client: Client, asynchronous: tuple[AsyncClient, AsyncOpenAI], user: str) -> None:
    gate, llm = asynchronous
    gated = metered(llm, gate, user_id=user)
    answer = await gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=500)
    assert answer.usage is not None
    assert figures(client, user) == nothing_but(18, "0.025", 1)
    stream = await gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=500, stream=True)
    assert len([chunk async for chunk in stream]) == len(WORDS) + 1
    assert figures(client, user) == nothing_but(36, "0.05", 2)
    async with await gated.chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=500, stream=True
    ) as stream:
        assert (await stream.__anext__()).choices[0].delta.content == WORDS[0]
    assert figures(client, user)["tokens"] == (36 + prompt_tokens(MESSAGES) + 2, 0)
    # Closed before the first read.
    async with await gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=500, stream=True):
        assert figures(client, user)["tokens"][1] == 500 + prompt_tokens(MESSAGES)
    assert figures(client, user)["tokens"] == (36 + prompt_tokens(MESSAGES) + 2, 0)
    # Dropped in the middle.
    async for _ in await gated.chat.completions.create(model="small", messages=MESSAGES, max_tokens=5, stream=True):
        break
    await gate.aclose()
    assert figures(client, user)["tokens"] == (36 + 2 * (prompt_tokens(MESSAGES) + 2), 0)


def test_the_provider_answers_as_the_clients_expect(provider: Provider) -> None:
    answer = httpx.post(f"{provider.url}/chat/completions", json={"model": "small", "messages": []}).json()
    assert answer["usage"]["total_tokens"] == 18
