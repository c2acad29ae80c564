# Generated from ../_async/completions.py by tools/generate_sync.py; do not edit.
"""A client of OpenAI's API whose calls are reserved before and committed after."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any

from quotagate._completions import Completion, only_usage, readable_twice, streamed
from quotagate._sync import runtime
from quotagate._sync.reservation import Reservation, Reservations


class Metered:
    """Stands for the client that it wraps; what it does not meter it does not have."""

    def __init__(
        self,
        llm: Any,
        client: Reservations,
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
        self.chat = Branch("chat", completions=Endpoint(self, lambda: llm.chat.completions, chat=True))
        self.responses = Endpoint(self, lambda: llm.responses, chat=False)

    def __getattr__(self, name: str) -> Any:
        raise unmetered(name)

    def begin(self, asked: Mapping[str, Any]) -> tuple[Completion, Reservation]:
        """What will be learnt of a call, and its reservation."""
        completion = Completion(asked, self._provider, self._most, self._metadata)
        quantity, metadata = completion.reserved()
        # Of a call that ends in the middle, what came until then is settled.
        work = self._client.stream_reservation(
            self._user_id, self._event, quantity, metadata, ttl_seconds=self._ttl_seconds
        )
        return completion, work


class Branch:
    """``chat``, which has only what is metered."""

    def __init__(self, name: str, **members: Any) -> None:
        self._name = name
        self.__dict__.update(members)

    def __getattr__(self, name: str) -> Any:
        raise unmetered(f"{self._name}.{name}")


class Endpoint:
    """``chat.completions`` or ``responses``."""

    def __init__(self, metered: Metered, endpoint: Any, *, chat: bool) -> None:
        self._metered = metered
        self._endpoint = endpoint
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        raise unmetered(name)

    def create(self, **asked: Any) -> Any:
        """The call as the wrapped client takes it; with ``stream=True`` a stream."""
        asked = readable_twice(asked)
        completion, work = self._metered.begin(asked)
        params, hide_usage = streamed(asked, self._chat)
        work.__enter__()
        try:
            answer = self._endpoint().create(**params)
        except BaseException as error:
            settle(completion, work, error)
            raise
        if params.get("stream"):
            return MeteredStream(answer, completion, work, hide_usage)
        completion.see(answer)
        settle(completion, work)
        return answer


def settle(completion: Completion, work: Reservation, error: BaseException | None = None) -> None:
    """Commits what was produced; nothing: gives everything back. An error of the call is the one to be seen."""
    if completion.produced():
        work.use(*completion.used())
    work.__exit__(None if error is None else type(error), error, None)


def passed_on(stream: Any, completion: Completion, work: Reservation, hide_usage: bool) -> Generator[Any, None]:
    """The chunks; settles at whatever ends them."""
    try:
        for chunk in stream:
            completion.see(chunk)
            if not (hide_usage and only_usage(chunk)):
                yield chunk
    except BaseException as error:
        settle(completion, work, error)
        raise
    settle(completion, work)


class MeteredStream:
    """The chunks as they come. However it ends (at its end, closed early, dropped, by an error), what was produced is
    settled: by the provider's figures if they came, else by an estimate from the text."""

    def __init__(self, stream: Any, completion: Completion, work: Reservation, hide_usage: bool) -> None:
        self._stream = stream
        self._completion = completion
        self._work = work
        # It must not know this object: who drops the one drops the other.
        self._chunks = passed_on(stream, completion, work, hide_usage)

    def __iter__(self) -> MeteredStream:
        return self

    def __next__(self) -> Any:
        return self._chunks.__next__()

    def close(self) -> None:
        """Stops the provider and settles."""
        self._chunks.close()
        runtime.closed(self._stream)
        # A stream that nobody began to read.
        if self._work.settlement is None:
            settle(self._completion, self._work)

    def __enter__(self) -> MeteredStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._work.settlement is None:
            self._work.dropped(self.close)


def unmetered(name: str) -> AttributeError:
    return AttributeError(f"{name} is not metered: call it on the client that was wrapped")
