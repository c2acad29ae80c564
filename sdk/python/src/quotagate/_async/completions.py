"""A wrapper of OpenAI clients that reserves before each call and commits after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any

from quotagate._async import runtime
from quotagate._async.reservation import AsyncReservation, AsyncReservations
from quotagate._completions import Completion, only_usage, readable_twice, streamed


class AsyncMetered:
    """The wrapped client. It has only the calls that are metered."""

    def __init__(
        self,
        llm: Any,
        client: AsyncReservations,
        user_id: str,
        event: str,
        metadata: Mapping[str, Any],
        provider: str,
        most: int,
        least: int | None,
        fit_field: str,
        ttl_seconds: int,
    ) -> None:
        self._client = client
        self._user_id = user_id
        self._event = event
        self._metadata = metadata
        self._provider = provider
        self._most = most
        self._least = least
        self._fit_field = fit_field
        self._ttl_seconds = ttl_seconds
        # Looked up when used: not every compatible client has both.
        self.chat = AsyncBranch("chat", completions=AsyncEndpoint(self, lambda: llm.chat.completions, chat=True))
        self.responses = AsyncEndpoint(self, lambda: llm.responses, chat=False)

    def __getattr__(self, name: str) -> Any:
        raise unmetered(name)

    def begin(self, params: Mapping[str, Any]) -> tuple[Completion, AsyncReservation]:
        """The figures of a call, and its reservation."""
        completion = Completion(params, self._provider, self._most, self._least, self._fit_field, self._metadata)
        quantity, metadata = completion.reserved()
        # A stream that ends early is charged for what it produced.
        work = self._client.stream_reservation(
            self._user_id, self._event, quantity, metadata, fit=completion.fit(), ttl_seconds=self._ttl_seconds
        )
        return completion, work


class AsyncBranch:
    """``chat``, with only the metered calls."""

    def __init__(self, name: str, **members: Any) -> None:
        self._name = name
        self.__dict__.update(members)

    def __getattr__(self, name: str) -> Any:
        raise unmetered(f"{self._name}.{name}")


class AsyncEndpoint:
    """``chat.completions`` or ``responses``."""

    def __init__(self, metered: AsyncMetered, endpoint: Any, *, chat: bool) -> None:
        self._metered = metered
        self._endpoint = endpoint
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        raise unmetered(name)

    async def create(self, **params: Any) -> Any:
        """Takes the arguments of the wrapped client; with ``stream=True`` it returns a stream."""
        params = readable_twice(params)
        completion, work = self._metered.begin(params)
        sent, hide_usage = streamed(params, self._chat)
        await work.__aenter__()
        sent = completion.limited(sent, work.fitted, self._chat)
        try:
            answer = await self._endpoint().create(**sent)
        except BaseException as error:
            await settle(completion, work, error)
            raise
        if sent.get("stream"):
            return AsyncMeteredStream(answer, completion, work, hide_usage)
        completion.see(answer)
        await settle(completion, work)
        return answer


async def settle(completion: Completion, work: AsyncReservation, error: BaseException | None = None) -> None:
    """Commits what was produced, or releases if nothing was. The caller gets the provider's own error."""
    if completion.produced():
        work.use(*completion.used())
    await work.__aexit__(None if error is None else type(error), error, None)


async def passed_on(
    stream: Any, completion: Completion, work: AsyncReservation, hide_usage: bool
) -> AsyncGenerator[Any, None]:
    """Yields the chunks, and settles when they end, for whatever reason."""
    try:
        async for chunk in stream:
            completion.see(chunk)
            if not (hide_usage and only_usage(chunk)):
                yield chunk
    except BaseException as error:
        await settle(completion, work, error)
        raise
    await settle(completion, work)


class AsyncMeteredStream:
    """The chunks of a stream. However the stream ends (completely, closed early, garbage-collected, by an error), it
    settles what was produced: by the provider's figures, or without them by an estimate from the text."""

    def __init__(self, stream: Any, completion: Completion, work: AsyncReservation, hide_usage: bool) -> None:
        self._stream = stream
        self._completion = completion
        self._work = work
        # The generator has no reference to this object, so that both are garbage-collected together.
        self._chunks = passed_on(stream, completion, work, hide_usage)

    def __aiter__(self) -> AsyncMeteredStream:
        return self

    async def __anext__(self) -> Any:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stops the provider and settles."""
        await self._chunks.aclose()
        await runtime.closed(self._stream)
        # A stream that was never read.
        if self._work.settlement is None:
            await settle(self._completion, self._work)

    async def __aenter__(self) -> AsyncMeteredStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._work.settlement is None:
            self._work.dropped(self.aclose)


def unmetered(name: str) -> AttributeError:
    return AttributeError(f"{name} is not metered: call it on the client that was wrapped")
