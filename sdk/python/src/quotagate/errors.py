"""What went wrong, for programs and for people. No error ever shows a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quotagate.models import FieldError
    from quotagate.results import Decision

__all__ = ["GatewayUnavailable", "LimitReached", "QuotagateError"]


class QuotagateError(Exception):
    """Every error of this package, and one that applications may raise themselves.

    ``code`` is for programs: the gateway's codes (``invalid_request``, ``not_found`` …) and ``invalid_options``,
    ``gateway_unavailable``, ``unexpected_answer``. ``status`` is the HTTP status of the answer, or the one that fits.
    ``errors`` names the fields that were wrong, ``request_id`` finds the call in the gateway's log.

    Example::

        raise QuotagateError(code="limit_reached", message="All used", status=429)
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
        # Keyword arguments don't survive pickling by themselves.
        return (_again, (type(self), dict(self.__dict__), self.args))


def _again(kind: type[QuotagateError], attributes: dict[str, object], args: tuple[object, ...]) -> QuotagateError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class GatewayUnavailable(QuotagateError):
    """No usable answer came within the deadline: the gateway, or what lies before it, is down, cut off, too slow or
    overloaded.

    Whether the call took effect is not known; repeating it with its idempotency key counts it once.
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


class LimitReached(QuotagateError):
    """A denial as an error: raised by ``reservation`` and ``stream_reservation``, and by every denied call of a client
    with ``throw_on_deny``. It carries the whole decision.

    Example::

        try:
            with client.reservation("u_42", "image.render"):
                render()
        except LimitReached as denied:
            return {"upgrade": denied.decision.on_limit}, 429
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(code=_code(decision), message=_message(decision), status=503 if decision.local else 429)
        self.decision = decision

    @property
    def retry_after_ms(self) -> int | None:
        """How long until time lifts the denial, in milliseconds; None if it never does or is not known."""
        return self.decision.retry_after_ms


def _code(decision: Decision) -> str:
    return decision.reasons[0] if decision.reasons else "limit_reached"


def _message(decision: Decision) -> str:
    groups = [
        f"{denied.label} ({denied.requested} asked, {denied.remaining or 0} left)" for denied in decision.denied_by
    ]
    return ", ".join(groups) if groups else "the call is denied"
