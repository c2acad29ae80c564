# Generated from ../_async/estimates.py by tools/generate_sync.py; do not edit.
"""Learned estimates: what calls are held with while their figures are not known."""

from __future__ import annotations

from collections.abc import Generator

from quotagate._calls import given
from quotagate._sync.pages import models
from quotagate._sync.settling import Core
from quotagate.models import LearnedEstimateView


class Estimates:
    """What the gateway has learned. Needs an ``sk_`` or ``ak_`` key."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def list(self, event: str | None = None) -> Generator[LearnedEstimateView, None]:
        """The learned estimates, by event, field and metadata values. In ``event``, ``*`` stands for any characters.

        Example::

            for estimate in client.estimates.list("llm.chat"):
                print(estimate.by, estimate.value, estimate.samples)
        """
        return models(self._core, LearnedEstimateView, "estimates", given(event=event))
