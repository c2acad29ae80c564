"""Learned estimates: what calls are held with while their figures are not known."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from quotagate._async.pages import models
from quotagate._async.settling import AsyncCore
from quotagate._calls import given
from quotagate.models import LearnedEstimateView


class AsyncEstimates:
    """What the gateway has learned. Needs an ``sk_`` or ``ak_`` key."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    def list(self, event: str | None = None) -> AsyncGenerator[LearnedEstimateView, None]:
        """The learned estimates, by event, field and metadata values. In ``event``, ``*`` stands for any characters.

        Example::

            async for estimate in client.estimates.list("llm.chat"):
                print(estimate.by, estimate.value, estimate.samples)
        """
        return models(self._core, LearnedEstimateView, "estimates", given(event=event))
