"""What the gateway accepts, by the names of the API.

Generated from the gateway's openapi.json by tools/generate_models.py; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from quotagate._json import Number

Enforcement: TypeAlias = Literal["hard", "soft", "approval"]
"""What happens past the quota."""

IfExpired: TypeAlias = Literal["charge", "reject"]
"""What to do with a commit after the reservation's expiry."""

KeyKind: TypeAlias = Literal["secret", "publishable", "admin"]
"""What a key is meant for."""

KeyMode: TypeAlias = Literal["live", "test"]
"""Live or test, as in a key's prefix."""

MeasureWord: TypeAlias = Literal["quantity", "event"]

OnPlanChange: TypeAlias = Literal["carry", "reset", "block"]
"""What a group's counter does when a user moves to this plan."""

OnStoreFailure: TypeAlias = Literal["deny", "allow"]
"""What reserve answers while Redis cannot be reached."""

Outcome: TypeAlias = Literal["accepted", "rejected"]
"""What a result was worth to the end user."""

PeriodAnchor: TypeAlias = Literal["calendar", "subscription_start"]
"""What windows are counted from."""

Placement: TypeAlias = Literal["app", "user"]
"""How an app's data lies in Redis; fixed at its creation."""

Role: TypeAlias = Literal["viewer", "support", "approver", "admin"]
"""What an operator may do; each role may what those before it may."""

Unit: TypeAlias = Literal["count", "tokens", "seconds", "cents"]
"""What a limit group counts in. The unit of a group id never changes."""

UnmatchedEvents: TypeAlias = Literal["deny", "allow"]
"""What happens to an event that no group of the plan matches."""

WebhookEvent: TypeAlias = Literal[
    "threshold.reached",
    "limit.reached",
    "approval.requested",
    "approval.decided",
    "subscription.changed",
    "reservation.expired",
]
"""What an app can hear of."""

WeekDay: TypeAlias = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
"""The day on which calendar weeks start."""

WindowKind: TypeAlias = Literal[
    "minute", "hourly", "daily", "weekly", "monthly", "yearly", "lifetime", "every", "fixed", "concurrent"
]
"""Kind of a window; also the `periodType` of a plan or group (SPEC section 3). The default is `lifetime`,
the kind that never gives fresh quota by itself."""


class ActualBody(TypedDict, total=False):
    """Actual figures of one item."""

    metadata: Mapping[str, Any]
    quantity: Number | None


class _AppBodyRequired(TypedDict):
    id: str


class AppBody(_AppBodyRequired, total=False):
    """``AppBody`` of the API."""

    placement: Placement
    """Fixed for ever."""


class ApprovalBody(TypedDict, total=False):
    """Who may approve, and under what condition; for people to read."""

    approvers: Sequence[str]
    condition: str | None


class _ApproveBodyRequired(TypedDict):
    amount: Number
    """In the group's unit."""


class ApproveBody(_ApproveBodyRequired, total=False):
    """``ApproveBody`` of the API."""

    note: str | None
    rollbackOwner: str | None
    """Who takes it back if it goes wrong."""
    until: str | None
    """RFC 3339: until then it enlarges each window; left out, it ends with the present window."""


class _BackoffBodyRequired(TypedDict):
    initialMs: int


class BackoffBody(_BackoffBodyRequired, total=False):
    """How long to wait between attempts: `initialMs × factor^n`, at most `maxMs`."""

    factor: int | None
    """1 to 10; default 2."""
    maxMs: int | None


class BatchBody(TypedDict):
    """Several operations. A fault in one of them is a problem in its own result, and does not affect the
    others."""

    operations: Sequence[
        ReserveOperation | CommitOperation | ReleaseOperation | ExtendOperation | TrackOperation | CanUseOperation
    ]
    """1 to 100."""


class _CanUseOperationRequired(TypedDict):
    op: Literal["can-use"]
    userId: str
    """1 to 256 bytes."""


class CanUseOperation(_CanUseOperationRequired, total=False):
    """`POST can-use` as an operation of a batch."""

    event: str | None
    """1 to 128 bytes."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    items: Sequence[ItemBody] | None
    """1 to 10, instead of event, quantity and metadata."""
    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0; default 1."""
    ttlSeconds: int
    """1 to 3600."""


class _CancelBodyRequired(TypedDict):
    userId: str


class CancelBody(_CancelBodyRequired, total=False):
    """``CancelBody`` of the API."""

    endsAt: str | None
    """RFC 3339; default now."""
    note: str | None
    """Why; kept in the audit log. At most 1,024 bytes."""


class ClockBody(TypedDict):
    """``ClockBody`` of the API."""

    now: str
    """RFC 3339; the clock moves forward only."""


class _CommitBodyRequired(TypedDict):
    reservationId: str


class CommitBody(_CommitBodyRequired, total=False):
    """``CommitBody`` of the API."""

    final: bool
    """False: charge that much and keep the rest of the hold."""
    ifExpired: IfExpired
    items: Sequence[ActualBody] | None
    """Figures of a reservation of several items, in their order; instead of quantity and metadata."""
    metadata: Mapping[str, Any]
    """Actual figures, merged over the reserve's."""
    outcome: Outcome | None
    """What the result was worth; also possible later, by `POST reservations/{id}/outcome`."""
    quantity: Number | None
    """The actual quantity; 0 is allowed."""


class _CommitOperationRequired(TypedDict):
    op: Literal["commit"]
    reservationId: str


class CommitOperation(_CommitOperationRequired, total=False):
    """`POST commit` as an operation of a batch."""

    final: bool
    """False: charge that much and keep the rest of the hold."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    ifExpired: IfExpired
    items: Sequence[ActualBody] | None
    """Figures of a reservation of several items, in their order; instead of quantity and metadata."""
    metadata: Mapping[str, Any]
    """Actual figures, merged over the reserve's."""
    outcome: Outcome | None
    """What the result was worth; also possible later, by `POST reservations/{id}/outcome`."""
    quantity: Number | None
    """The actual quantity; 0 is allowed."""


class Configuration(TypedDict, total=False):
    """What an app is configured to do. A part that is left out stays as it is; of a part that is there,
    what is not in it is deleted."""

    app: Settings | None
    plans: Sequence[PlanBody] | None
    """Each with its `id`."""
    policies: Sequence[PolicyBody] | None
    """Each with its `id`."""
    webhooks: Sequence[WebhookBody] | None
    """Each with its `id`. A new one gets a secret, which `POST webhooks/{id}/rotate-secret` tells."""


class _ExplainDraftBodyRequired(TypedDict):
    event: str


class ExplainDraftBody(_ExplainDraftBodyRequired, total=False):
    """A plan or a policy that is not saved, and a call."""

    metadata: Mapping[str, Any]
    plan: PlanBody | None
    """With its `id`. Instead of `policy`."""
    policy: PolicyBody | None
    """With its `id`. Instead of `plan`."""
    quantity: Number


class _ExtendBodyRequired(TypedDict):
    reservationId: str


class ExtendBody(_ExtendBodyRequired, total=False):
    """``ExtendBody`` of the API."""

    quantity: Number | None
    """So much more; checked like a reserve."""
    ttlSeconds: int | None
    """From now on; 1 to 3600."""


class _ExtendOperationRequired(TypedDict):
    op: Literal["extend"]
    reservationId: str


class ExtendOperation(_ExtendOperationRequired, total=False):
    """`POST extend` as an operation of a batch."""

    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    quantity: Number | None
    """So much more; checked like a reserve."""
    ttlSeconds: int | None
    """From now on; 1 to 3600."""


class _FallbackBodyRequired(TypedDict):
    event: str


class FallbackBody(_FallbackBodyRequired, total=False):
    """What the application may call instead."""

    metadata: Mapping[str, Any]


class Filter(TypedDict, total=False):
    """Per field the values that are let through; a field that is left out lets all through."""

    environments: Sequence[str]
    """Environments of policies."""
    groupIds: Sequence[str]
    owners: Sequence[str]
    """Owners of policies."""
    policyIds: Sequence[str]
    scope: Mapping[str, str]
    """Values of the counter's scope, such as `{"metadata.team": "red"}`."""


class _GrantBodyRequired(TypedDict):
    amount: Number
    """In the group's unit."""
    groupId: str
    scope: Mapping[str, str]
    """Whose counter it is for, such as `{"user": "u_42"}`: a value for each name of the group's scope."""


class GrantBody(_GrantBodyRequired, total=False):
    """``GrantBody`` of the API."""

    expiresAt: str | None
    """RFC 3339: until then it enlarges each window; left out, it ends with the present window."""
    note: str | None


class _GroupBodyRequired(TypedDict):
    id: str
    matches: Sequence[RuleBody]
    quota: Number | None
    """In the unit; 0 denies whatever matches; null counts without limit."""
    unit: Unit


class GroupBody(_GroupBodyRequired, total=False):
    """One limit group of a plan or policy."""

    alerts: Sequence[int]
    """Percent of quota and grants, rising, 1 to 1000: when `used` passes one, an alert is told, once per
    counter, window and limit."""
    covers: Sequence[str]
    """Events of these names that no rule of the group matches are denied."""
    end: str | None
    enforcement: Enforcement
    every: str | None
    label: str | None
    maxPerCall: Number | None
    """In the unit; a single larger call is refused."""
    measure: MeasureWord | WeightedBody | None
    onLimit: OnLimitBody | None
    onPlanChange: OnPlanChange
    periodAnchor: PeriodAnchor | None
    periodType: WindowKind | None
    scope: Sequence[str] | None
    """Whose counter an event lands in: `user` (default), `app`, `key`, `metadata.<name>`, or several of
    them: then there is one counter per tuple."""
    start: str | None
    timezone: str | None
    weekStart: WeekDay | None


class _ItemBodyRequired(TypedDict):
    event: str
    """1 to 128 bytes."""


class ItemBody(_ItemBodyRequired, total=False):
    """One event of a call."""

    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0."""


class _KeyBodyRequired(TypedDict):
    kind: KeyKind


class KeyBody(_KeyBodyRequired, total=False):
    """``KeyBody`` of the API."""

    metadata: Mapping[str, Any]
    """Of secret keys: overrides what the caller claims."""
    mode: KeyMode | None
    """Of secret and publishable keys."""
    name: str | None
    origins: Sequence[str]
    """Of publishable keys: where browsers may use it."""
    requireUserToken: bool
    """Of publishable keys: reading usage needs `X-User-Token`."""
    role: Role | None
    """Of admin keys."""
    sandbox: str | None
    """Of test keys; default `main`."""


class NoteBody(TypedDict, total=False):
    """``NoteBody`` of the API."""

    note: str | None
    """Why; kept in the audit log."""


class OnLimitBody(TypedDict, total=False):
    """Handed back with a denial."""

    fallback: FallbackBody | None
    message: str | None
    upgradeUrl: str | None


class OutcomeBody(TypedDict):
    """``OutcomeBody`` of the API."""

    outcome: Outcome


class _PlanBodyRequired(TypedDict):
    groups: Sequence[GroupBody]


class PlanBody(_PlanBodyRequired, total=False):
    """A named set of limit groups for users."""

    end: str | None
    """RFC 3339; end of a `fixed` period."""
    every: str | None
    """ISO 8601 duration of an `every` period."""
    id: str | None
    name: str | None
    periodAnchor: PeriodAnchor | None
    periodType: WindowKind | None
    start: str | None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None
    """IANA name; default UTC."""
    unmatchedEvents: UnmatchedEvents
    weekStart: WeekDay | None


class _PolicyBodyRequired(TypedDict):
    groups: Sequence[GroupBody]


class PolicyBody(_PolicyBodyRequired, total=False):
    """Limit groups that apply to every event of the app, whatever the user's plan, with the record of who
    answers for them."""

    approval: ApprovalBody | None
    """Told with each approval request of its groups."""
    end: str | None
    """RFC 3339; end of a `fixed` period."""
    environment: str | None
    """Where it holds, such as `production`."""
    every: str | None
    """ISO 8601 duration of an `every` period."""
    id: str | None
    name: str | None
    notes: str | None
    owner: str | None
    """Who answers for the policy: a team or a person."""
    periodAnchor: PeriodAnchor | None
    periodType: WindowKind | None
    retry: RetryBody | None
    reviewCadence: str | None
    """How often somebody looks whether it is still right: weekly, monthly, quarterly, yearly, or an ISO
    8601 duration."""
    route: str | None
    """Which model route, product or workflow it is about."""
    start: str | None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None
    """IANA name; default UTC."""
    weekStart: WeekDay | None


class RejectBody(TypedDict, total=False):
    """``RejectBody`` of the API."""

    note: str | None


class _ReleaseBodyRequired(TypedDict):
    reservationId: str


class ReleaseBody(_ReleaseBodyRequired, total=False):
    """``ReleaseBody`` of the API."""

    errorCode: str | None
    reason: str | None


class ReleaseByHandBody(TypedDict, total=False):
    """``ReleaseByHandBody`` of the API."""

    reason: str | None
    """Why; kept in the ledger and in the audit log. At most 256 bytes."""


class _ReleaseOperationRequired(TypedDict):
    op: Literal["release"]
    reservationId: str


class ReleaseOperation(_ReleaseOperationRequired, total=False):
    """`POST release` as an operation of a batch."""

    errorCode: str | None
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    reason: str | None


class _ReserveBodyRequired(TypedDict):
    userId: str
    """1 to 256 bytes."""


class ReserveBody(_ReserveBodyRequired, total=False):
    """One `event` with its quantity and metadata, or `items`: several events that pass together or not at
    all."""

    event: str | None
    """1 to 128 bytes."""
    items: Sequence[ItemBody] | None
    """1 to 10, instead of event, quantity and metadata."""
    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0; default 1."""
    ttlSeconds: int
    """1 to 3600."""


class _ReserveOperationRequired(TypedDict):
    op: Literal["reserve"]
    userId: str
    """1 to 256 bytes."""


class ReserveOperation(_ReserveOperationRequired, total=False):
    """`POST reserve` as an operation of a batch."""

    event: str | None
    """1 to 128 bytes."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    items: Sequence[ItemBody] | None
    """1 to 10, instead of event, quantity and metadata."""
    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0; default 1."""
    ttlSeconds: int
    """1 to 3600."""


class ResetBody(TypedDict, total=False):
    """``ResetBody`` of the API."""

    groupId: str | None
    """Left out: every group."""
    note: str | None
    """Why; kept in the audit log."""


class _RetryBodyRequired(TypedDict):
    maxAttempts: int
    """Attempts of one original action, the first one included; 1 to 1000."""


class RetryBody(_RetryBodyRequired, total=False):
    """How a client may try again. `maxAttempts` is also enforced: events that the policy matches and that
    carry `metadata.action` count as attempts of that action."""

    backoff: BackoffBody | None
    nonRetryable: Sequence[str]
    """Error codes of the provider that must not be tried again."""


class ReviewBody(TypedDict, total=False):
    """``ReviewBody`` of the API."""

    note: str | None


class RollbackBody(TypedDict):
    """``RollbackBody`` of the API."""

    version: int


class _RuleBodyRequired(TypedDict):
    event: str
    """Exact, or a glob in which `*` stands for any run of characters."""


class RuleBody(_RuleBodyRequired, total=False):
    """One match rule of a group."""

    measure: MeasureWord | WeightedBody | None
    metadata: Mapping[str, Any]
    """Per key a scalar, or a list of which any may match; all keys must match."""


class SessionBody(TypedDict):
    """``SessionBody`` of the API."""

    key: str
    """An admin key (`ak_…`)."""


class Settings(TypedDict, total=False):
    """``Settings`` of the API."""

    currency: str | None
    """How the dashboard writes cents: ISO 4217, such as `USD`. Null: as cents."""
    defaultPlanId: str | None
    """The plan of users without subscription; calendar and endless groups only. Null: they are denied."""
    maxScopeValues: int
    """How many values (or tuples of values) of one scope with metadata may have counters at the same
    time, in each mode (and bucket, with placement `user`); calls with further ones are denied. 1 to
    10,000,000."""
    onStoreFailure: OnStoreFailure
    reportLabels: Sequence[str]
    """Metadata fields that reports tell apart, beside those that groups look at and the documented names:
    at most 16."""


class _SubscribeBodyRequired(TypedDict):
    planId: str
    userId: str


class SubscribeBody(_SubscribeBodyRequired, total=False):
    """``SubscribeBody`` of the API."""

    customLimits: Mapping[str, Any] | None
    """`{groupId: {quota}}` or a plan's whole body, instead of the plan's own limits. Null clears them; a
    move to another plan drops them."""
    cycleStart: str | None
    """RFC 3339; windows are counted from here instead. Null clears it."""
    endsAt: str | None
    """RFC 3339; from then on there is no subscription. Null clears it."""
    note: str | None
    """Why; kept in the audit log if something changes. At most 1,024 bytes."""
    resetUsage: bool
    """With a moved anchor or another plan: start at 0."""
    startedAt: str | None
    """RFC 3339, not in the future; default now, or what it was on the same plan."""


class _TrackBodyRequired(TypedDict):
    event: str
    """A name that ends in `.refund` gives back."""
    userId: str


class TrackBody(_TrackBodyRequired, total=False):
    """``TrackBody`` of the API."""

    enforce: bool
    """Count only if there is room, else 429."""
    metadata: Mapping[str, Any]
    quantity: Number


class _TrackOperationRequired(TypedDict):
    event: str
    """A name that ends in `.refund` gives back."""
    op: Literal["track"]
    userId: str


class TrackOperation(_TrackOperationRequired, total=False):
    """`POST track` as an operation of a batch."""

    enforce: bool
    """Count only if there is room, else 429."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    metadata: Mapping[str, Any]
    quantity: Number


class UserProfile(TypedDict, total=False):
    """A user's display name and tags, shown and searched in the dashboard."""

    name: str | None
    """At most 128 characters."""
    tags: Sequence[str]
    """At most 16, each of 1 to 32 characters."""


class _WebhookBodyRequired(TypedDict):
    events: Sequence[WebhookEvent]
    """At least one."""
    url: str
    """`http` or `https`."""


class WebhookBody(_WebhookBodyRequired, total=False):
    """A webhook as clients write it."""

    filter: Filter
    """Only events that match all that is given here."""
    id: str | None
    modes: Sequence[str]
    """Whose events: `live`, `test` (every sandbox) or `test/<sandbox>`."""
    template: str | None
    """The payload's `text`, for chats, with the placeholders `{event}`, `{group}`, `{percent}`, `{used}`,
    `{held}`, `{quota}`, `{unit}`, `{scope}`, `{owner}`, `{policy}`, `{resetsAt}`."""


class _WeightedBodyRequired(TypedDict):
    per: Mapping[str, Number]


class WeightedBody(_WeightedBodyRequired, total=False):
    """A sum of numeric metadata fields (or the words `quantity`, `event`) times exact weights."""

    estimate: Mapping[str, Number]
    """Stands in for fields that a reserve does not know yet."""


class WhatifBody(TypedDict, total=False):
    """A plan or a policy, as putting it would take it."""

    entries: int | None
    """At most so many of the newest entries of the ledger and the denials, 100 to 50000, default 20000."""
    plan: PlanBody | None
    """With its `id`. Instead of `policy`."""
    policy: PolicyBody | None
    """With its `id`. Instead of `plan`."""
    usersOf: str | None
    """The plan whose users get the one in `plan`; default: that plan's own users."""
