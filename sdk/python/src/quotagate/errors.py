"""The errors of this package. None of them contains a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quotagate.models import FieldError, OpenedView
    from quotagate.results import Decision, Fallback, OnLimit

__all__ = [
    "ApprovalRequired",
    "CallTooLarge",
    "Denied",
    "GatewayUnavailable",
    "LimitReached",
    "MissingScope",
    "NotSubscribed",
    "QuotagateError",
    "UncoveredEvent",
    "UnmatchedEvent",
    "UserBlocked",
]


class QuotagateError(Exception):
    """The base class of all errors of this package. Applications may raise it, too.

    ``code`` is for programs: the gateway's codes (``invalid_request``, ``not_found`` …) and ``invalid_options``,
    ``gateway_unavailable``, ``unexpected_answer``. ``status`` is the HTTP status of the answer; without an answer, a
    status that fits. ``errors`` lists the invalid fields. ``request_id`` identifies the call in the gateway's log.

    Example::

        raise QuotagateError(code="limit_reached", message="All images used", status=429)
    """

    def __init__(
        self,
        *,
        code: str,
        message: str,
        status: int,
        request_id: str | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r}, status={self.status})"

    def __reduce__(self) -> tuple[object, ...]:
        # Pickle would call the class without its keyword arguments.
        return (_restored, (type(self), dict(self.__dict__), self.args))


def _restored(kind: type[QuotagateError], attributes: dict[str, object], args: tuple[object, ...]) -> QuotagateError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class GatewayUnavailable(QuotagateError):
    """No usable answer arrived before the deadline: the gateway, or a proxy in front of it, is down, unreachable, too
    slow or overloaded.

    It is not known whether the call took effect. Repeat it with the same idempotency key, and it counts once.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "gateway_unavailable",
        status: int = 503,
        request_id: str | None = None,
    ) -> None:
        super().__init__(code=code, message=message, status=status, request_id=request_id)


class Denied(QuotagateError):
    """The gateway denied the call. There is a subclass for each reason; ``code`` is the reason.

    ``reservation`` and ``stream_reservation`` raise it, and so does every denied call of a client with
    ``throw_on_deny``. ``decision`` is the gateway's whole answer.

    Example::

        try:
            with client.reservation("u_42", "image.render"):
                render()
        except LimitReached as denied:
            return f"No images left until {denied.resets_at}"
        except Denied as denied:
            return f"Not allowed: {denied.code}"
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(code=_reason(decision), message=self._message(decision), status=429)
        self.decision = decision

    def _message(self, decision: Decision) -> str:
        return _with_groups("The call is denied", decision)

    def __str__(self) -> str:
        return self.message

    @property
    def retry_after_ms(self) -> int | None:
        """The time after which the call may be allowed, in milliseconds; None if that is not known, or never."""
        return self.decision.retry_after_ms

    @property
    def on_limit(self) -> OnLimit | None:
        """The first ``onLimit`` of the groups that denied: ``message``, ``upgrade_url``, ``fallback``."""
        return self.decision.on_limit

    @property
    def fallback(self) -> Fallback | None:
        """The event to use instead, if the plan names one.

        Example::

            if denied.fallback:
                client.reserve("u_42", denied.fallback.event, 1, denied.fallback.metadata)
        """
        return self.decision.fallback


class UserBlocked(Denied):
    """An operator has blocked the user (``user_blocked``)."""

    def _message(self, decision: Decision) -> str:
        return "The user is blocked"


class NotSubscribed(Denied):
    """The user has no subscription, and the app has no default plan (``no_subscription``)."""

    def _message(self, decision: Decision) -> str:
        return "The user has no subscription"


class UnmatchedEvent(Denied):
    """No limit of the user's plan matches the event (``unmatched_event``): often a misspelt event name."""

    def _message(self, decision: Decision) -> str:
        return "No limit of the plan matches the event"


class UncoveredEvent(Denied):
    """A group covers the event, but none of its match rules does (``uncovered_event``): often a model without a
    price."""

    def _message(self, decision: Decision) -> str:
        labels = ", ".join(denied.label for denied in decision.denied_by)
        return f"No match rule for the event in: {labels}" if labels else "No match rule for the event"


class MissingScope(Denied):
    """The call has no value for a name in a group's scope (``missing_scope``). ``missing`` lists the names."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The names, such as ``metadata.team``."""
        return _missing(self.decision)

    def _message(self, decision: Decision) -> str:
        return f"Missing in the call: {', '.join(_missing(decision))}"


class CallTooLarge(Denied):
    """The amount is more than a group allows in one call (``call_too_large``, ``maxPerCall``)."""

    def _message(self, decision: Decision) -> str:
        groups = [f"{denied.label} ({denied.requested} requested)" for denied in decision.denied_by]
        return f"Too large for one call: {', '.join(groups)}"


class LimitReached(Denied):
    """A limit has no room for the amount (``limit_reached``). It is raised for no other reason.

    Example::

        except LimitReached as denied:
            return Response("Used up", status=429, headers=rate_limit_headers(denied))
    """

    @property
    def resets_at(self) -> str | None:
        """When the last of the limits that denied resets, as RFC 3339 text; None if one of them never resets."""
        times = [denied.resets_at for denied in self.decision.denied_by]
        known = [time for time in times if time is not None]
        return max(known, key=_instant) if known and len(known) == len(times) else None

    def _message(self, decision: Decision) -> str:
        return _with_groups("Limit reached", decision)


class ApprovalRequired(Denied):
    """The quota is used up, and a person has to approve more (``approval_required``)."""

    @property
    def approvals(self) -> tuple[OpenedView, ...]:
        """The approval requests of this denial, with ``id`` and ``status``."""
        return tuple(denied.approval for denied in self.decision.denied_by if denied.approval is not None)

    def _message(self, decision: Decision) -> str:
        return _with_groups("Approval required", decision)


BY_REASON: dict[str, type[Denied]] = {
    "user_blocked": UserBlocked,
    "no_subscription": NotSubscribed,
    "unmatched_event": UnmatchedEvent,
    "uncovered_event": UncoveredEvent,
    "missing_scope": MissingScope,
    "call_too_large": CallTooLarge,
    "limit_reached": LimitReached,
    "approval_required": ApprovalRequired,
}


def denial(decision: Decision) -> Denied | GatewayUnavailable:
    """The error for a decision that is not ``allowed``.

    Example::

        r = client.reserve("u_42", "image.render")
        if not r.allowed:
            raise denial(r)
    """
    if decision.local:
        return GatewayUnavailable("the gateway cannot be reached")
    # A newer gateway may have reasons that this version does not know.
    return BY_REASON.get(_reason(decision), Denied)(decision)


def _reason(decision: Decision) -> str:
    return decision.reasons[0] if decision.reasons else "denied"


def _with_groups(sentence: str, decision: Decision) -> str:
    groups = [f"{one.label} ({one.requested} requested, {one.remaining or 0} left)" for one in decision.denied_by]
    return f"{sentence}: {', '.join(groups)}" if groups else sentence


def _missing(decision: Decision) -> tuple[str, ...]:
    names = [name for denied in decision.denied_by for name in denied.missing_scope]
    return tuple(dict.fromkeys(names))


def _instant(time: str) -> datetime:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(time.replace("Z", "+00:00"))
