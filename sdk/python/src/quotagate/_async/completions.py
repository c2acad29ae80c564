"""A client of OpenAI's API whose calls are reserved before and committed after."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any

from quotagate._async import runtime
from quotagate._async.reservation import AsyncReservation, AsyncReservations
from quotagate._completions import Completion, only_usage, readable_twice, streamed


class AsyncMetered:
    """Stands for the client that it wraps; what it does not meter it does not have."""

    def __init__(
        self,
        llm: Any,
        client: AsyncReservations,
        user_id: str,
        event: str,
        metadata: Mapping[str, Any],
        provider: str,
        most: int,
        ttl_seconds: int,
    ) -> None:
        self._client = client
        self._user_id = user_id
        self._event = event
        self._metadata = metadata
        self._provider = provider
        self._most = most
        self._ttl_seconds = ttl_seconds
        # Looked up when it is used: not every server of the same wire format has both.
        self.chat = AsyncBranch("chat", completions=AsyncEndpoint(self, lambda: llm.chat.completions, chat=True))
        self.responses = AsyncEndpoint(self, lambda: llm.responses, chat=False)

    def __getattr__(self, name: str) -> Any:
        raise unmetered(name)

    def begin(self, asked: Mapping[str, Any]) -> tuple[Completion, AsyncReservation]:
        """What will be learnt of a call, and its reservation."""
        completion = Completion(asked, self._provider, self._most, self._metadata)
        quantity, metadata = completion.reserved()
        # Of a call that ends in the middle, what came until then is settled.
        work = self._client.stream_reservation(
            self._user_id, self._event, quantity, metadata, ttl_seconds=self._ttl_seconds
        )
        return completion, work


class AsyncBranch:
    """``chat``, which has only what is metered."""

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

    async def create(self, **asked: Any) -> Any:
        """The call as the wrapped client takes it; with ``stream=True`` a stream."""
        asked = readable_twice(asked)
        completion, work = self._metered.begin(asked)
        params, hide_usage = streamed(asked, self._chat)
        await work.__aenter__()
        try:
            answer = await self._endpoint().create(**params)
        except BaseException as error:
            await settle(completion, work, error)
            raise
        if params.get("stream"):
            return AsyncMeteredStream(answer, completion, work, hide_usage)
        completion.see(answer)
        await settle(completion, work)
        return answer


async def settle(completion: Completion, work: AsyncReservation, error: BaseException | None = None) -> None:
    """Commits what was produced; nothing: gives everything back. An error of the call is the one to be seen."""
    if completion.produced():
        work.use(*completion.used())
    await work.__aexit__(None if error is None else type(error), error, None)


async def passed_on(
    stream: Any, completion: Completion, work: AsyncReservation, hide_usage: bool
) -> AsyncGenerator[Any, None]:
    """The chunks; settles at whatever ends them."""
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
    """The chunks as they come. However it ends (at its end, closed early, dropped, by an error), what was produced is
    settled: by the provider's figures if they came, else by an estimate from the text."""

    def __init__(self, stream: Any, completion: Completion, work: AsyncReservation, hide_usage: bool) -> None:
        self._stream = stream
        self._completion = completion
        self._work = work
        # It must not know this object: who drops the one drops the other.
        self._chunks = passed_on(stream, completion, work, hide_usage)

    def __aiter__(self) -> AsyncMeteredStream:
        return self

    async def __anext__(self) -> Any:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stops the provider and settles."""
        await self._chunks.aclose()
        await runtime.closed(self._stream)
        # A stream that nobody began to read.
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
