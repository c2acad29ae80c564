"""The figures of OpenAI calls: what to reserve and what was used. This module does no I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from quotagate.bodies import FitBody

BYTES_PER_TOKEN = 4
"""An estimate, for texts without figures of the provider."""


def tokens_in(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def texts(part: Any) -> Iterator[str]:
    """All texts in messages, input and tools, without embedded images and sounds."""
    if isinstance(part, str):
        if not part.startswith("data:"):
            yield part
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if name != "data":
                yield from texts(value)
    elif isinstance(part, Iterable) and not isinstance(part, (bytes, bytearray)):
        for item in part:
            yield from texts(item)


def prompt_tokens(*parts: Any) -> int:
    """An estimate of the prompt's tokens."""
    return sum(tokens_in(text) for part in parts for text in texts(part))


def attribute(thing: Any, *names: str) -> Any:
    """The first of these attributes or keys that a model or dict has, or None."""
    for name in names:
        found = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
        if found is not None:
            return found
    return None


@dataclass
class Completion:
    """One call: the figures to reserve, and those of the answer or its chunks."""

    params: Mapping[str, Any]
    provider: str
    most: int
    """Tokens to reserve for the answer if the call sets no maximum."""
    least: int | None
    """Tokens that the answer must get; None: all that are reserved."""
    fit_field: str
    """The figure by which limits measure: ``completion_tokens`` or ``quantity``."""
    metadata: Mapping[str, Any]
    text: list[str] = field(default_factory=list)
    usage: Any = None
    request_id: str | None = None
    started: float = field(default_factory=time.monotonic)

    def prompt(self) -> int:
        params = self.params
        return prompt_tokens(*(params.get(name) for name in ("messages", "input", "instructions", "tools")))

    def completion(self) -> int:
        """The most tokens that the call can produce."""
        limit = attribute(self.params, "max_completion_tokens", "max_tokens", "max_output_tokens")
        return (limit if isinstance(limit, int) else self.most) * self.choices()

    def choices(self) -> int:
        """How many answers the call requests."""
        number = attribute(self.params, "n")
        return number if isinstance(number, int) else 1

    def fit(self) -> FitBody | None:
        """The figure that may be reduced to what fits; None if the call needs all of it."""
        least = min((self.least or 0) * self.choices(), self.completion())
        if least < 1:
            return None
        return {"field": self.fit_field, "min": self._base() + least}

    def _base(self) -> int:
        """The part of the fitted figure that is not the answer."""
        return self.prompt() if self.fit_field == "quantity" else 0

    def limited(self, params: dict[str, Any], fitted: Mapping[str, int], chat: bool) -> dict[str, Any]:
        """The parameters with the maximum that was reserved; without an answer of the gateway with the smallest one."""
        fit = self.fit()
        if fit is None:
            return params
        held = fitted.get(self.fit_field, int(fit["min"]))
        tokens = max(1, (held - self._base()) // self.choices())
        return {**params, limit_name(params, chat): tokens}

    def reserved(self) -> tuple[int, dict[str, Any]]:
        """Quantity and metadata to reserve."""
        prompt, completion = self.prompt(), self.completion()
        figures = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": 0}
        named = {"model": str(self.params.get("model", "")), "provider": self.provider}
        return prompt + completion, {**named, **self.metadata, **figures}

    def see(self, answer: Any) -> None:
        """Reads the figures of an answer or of a chunk."""
        # The last event of a responses stream contains the whole response.
        inner = attribute(answer, "response")
        whole = answer if inner is None else inner
        self.usage = attribute(whole, "usage") or self.usage
        self.request_id = self.request_id or attribute(whole, "id")
        delta = attribute(answer, "delta")
        if isinstance(delta, str):
            self.text.append(delta)
        for choice in attribute(answer, "choices") or ():
            self._see_choice(attribute(choice, "delta", "message"))

    def _see_choice(self, message: Any) -> None:
        if message is None:
            return
        for name in ("content", "refusal", "reasoning_content"):
            piece = attribute(message, name)
            if isinstance(piece, str):
                self.text.append(piece)
        for call in attribute(message, "tool_calls") or ():
            function = attribute(call, "function")
            self.text.extend(str(attribute(function, name) or "") for name in ("name", "arguments"))

    def produced(self) -> bool:
        """True if the provider has sent text or usage figures."""
        return self.usage is not None or any(self.text)

    def used(self) -> tuple[int, dict[str, Any]]:
        """Quantity and metadata to commit: the provider's figures, or an estimate from the text."""
        prompt = attribute(self.usage, "prompt_tokens", "input_tokens")
        completion = attribute(self.usage, "completion_tokens", "output_tokens")
        prompt = self.prompt() if prompt is None else int(prompt)
        completion = tokens_in("".join(self.text)) if completion is None else int(completion)
        details = attribute(self.usage, "prompt_tokens_details", "input_tokens_details")
        metadata: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cached_tokens": int(attribute(details, "cached_tokens") or 0),
            "latency_ms": int((time.monotonic() - self.started) * 1000),
        }
        if isinstance(self.request_id, str) and 0 < len(self.request_id.encode()) <= 256:
            metadata["provider_request_id"] = self.request_id
        return prompt + completion, metadata


def limit_name(params: Mapping[str, Any], chat: bool) -> str:
    """The parameter that sets the maximum of the answer."""
    if not chat:
        return "max_output_tokens"
    # Newer models refuse ``max_tokens``, and some compatible providers know nothing else.
    old = isinstance(params.get("max_tokens"), int) and not isinstance(params.get("max_completion_tokens"), int)
    return "max_tokens" if old else "max_completion_tokens"


def readable_twice(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turns iterators into lists, since both the estimate and the wrapped client read them."""
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in params.items()}


def streamed(params: Mapping[str, Any], chat: bool) -> tuple[dict[str, Any], bool]:
    """The parameters with usage requested, and True if the application did not request usage itself."""
    params = dict(params)
    if not chat or not params.get("stream"):
        return params, False
    options = params.get("stream_options")
    options = dict(options) if isinstance(options, Mapping) else {}
    hidden = not options.get("include_usage")
    params["stream_options"] = {**options, "include_usage": True}
    return params, hidden


def only_usage(chunk: Any) -> bool:
    """True for the last chunk with usage alone, which an application that did not request it does not expect."""
    return attribute(chunk, "choices") == [] and attribute(chunk, "usage") is not None
