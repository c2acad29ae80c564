"""The requests of the gateway, with the names of the API.

Generated from the gateway's openapi.json by tools/generate_models.py; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from quotagate._json import Number

Enforcement: TypeAlias = Literal["hard", "soft", "observe", "approval"]
"""What happens when the quota is reached."""

IfExpired: TypeAlias = Literal["charge", "reject"]
"""How to treat a commit after the reservation has expired."""

KeyKind: TypeAlias = Literal["secret", "publishable", "admin"]
"""The kind of a key."""

KeyMode: TypeAlias = Literal["live", "test"]
"""Live or test, also part of a key's prefix."""

LimitKind: TypeAlias = Literal["quota", "balance"]
"""Where the room of a group comes from: its quota, or credits."""

MeasureWord: TypeAlias = Literal["quantity", "event"]

OnPlanChange: TypeAlias = Literal["carry", "reset", "block"]
"""What happens to a group's counter when a user moves to this plan."""

OnStoreFailure: TypeAlias = Literal["deny", "allow"]
"""How reserve answers while Redis is unavailable."""

Outcome: TypeAlias = Literal["accepted", "rejected"]
"""How useful a result was to the end user."""

PeriodAnchor: TypeAlias = Literal["calendar", "subscription_start"]
"""What windows are counted from."""

Placement: TypeAlias = Literal["app", "user"]
"""How an app's data is distributed in Redis; it cannot be changed after creation."""

Role: TypeAlias = Literal["viewer", "support", "approver", "admin"]
"""The permissions of an operator; each role includes those before it."""

Unit: TypeAlias = Literal["count", "tokens", "seconds", "cents"]
"""What a limit group counts in. The unit of a group id never changes."""

UnmatchedEvents: TypeAlias = Literal["deny", "allow"]
"""How events are treated that no group of the plan matches."""

WebhookEvent: TypeAlias = Literal[
    "threshold.reached",
    "limit.reached",
    "credits.low",
    "approval.requested",
    "approval.decided",
    "subscription.changed",
    "reservation.expired",
]
"""The events that a webhook can receive."""

WeekDay: TypeAlias = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
"""The day on which calendar weeks start."""

WindowKind: TypeAlias = Literal[
    "minute", "hourly", "daily", "weekly", "monthly", "yearly", "lifetime", "every", "fixed", "concurrent"
]
"""The kind of a window; also the `periodType` of a plan or group. The default is `lifetime`, which never
renews its quota."""


class ActualBody(TypedDict, total=False):
    """Actual figures of one item."""

    metadata: Mapping[str, Any]
    quantity: Number | None


class _AppBodyRequired(TypedDict):
    id: str


class AppBody(_AppBodyRequired, total=False):
    """``AppBody`` of the API."""

    placement: Placement
    """Cannot be changed later."""


class ApprovalBody(TypedDict, total=False):
    """Who may approve, and on what condition; informational."""

    approvers: Sequence[str]
    condition: str | None


class _ApproveBodyRequired(TypedDict):
    amount: Number
    """In the group's unit."""


class ApproveBody(_ApproveBodyRequired, total=False):
    """``ApproveBody`` of the API."""

    note: str | None
    rollbackOwner: str | None
    """Who undoes the approval if it causes a problem."""
    until: str | None
    """RFC 3339. Until then the grant enlarges each window. Without it, the grant ends with the present
    window."""


class _BackoffBodyRequired(TypedDict):
    initialMs: int


class BackoffBody(_BackoffBodyRequired, total=False):
    """How long to wait between attempts: `initialMs × factor^n`, at most `maxMs`."""

    factor: int | None
    """1 to 10; default 2."""
    maxMs: int | None


class BatchBody(TypedDict):
    """Several operations. A fault in one of them is reported in its own result and does not affect the
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
    fit: FitBody | None
    """Hold as much of one figure as fits."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    items: Sequence[ItemBody] | None
    """1 to 10 events; cannot be combined with `event`, `quantity`, `metadata` or `fit`."""
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
    """The reason; recorded in the audit log. At most 1,024 bytes."""


class ClockBody(TypedDict):
    """``ClockBody`` of the API."""

    now: str
    """RFC 3339; the clock only moves forward."""


class _CommitBodyRequired(TypedDict):
    reservationId: str


class CommitBody(_CommitBodyRequired, total=False):
    """``CommitBody`` of the API."""

    final: bool
    """With false, this amount is charged and the rest stays held."""
    ifExpired: IfExpired
    items: Sequence[ActualBody] | None
    """Figures of a reservation with several items, in the same order; cannot be combined with `quantity`
    or `metadata`."""
    metadata: Mapping[str, Any]
    """Actual figures, merged over the metadata of the reserve."""
    outcome: Outcome | None
    """How useful the result was; can also be sent later with `POST reservations/{id}/outcome`."""
    quantity: Number | None
    """The actual quantity; 0 is allowed."""


class _CommitOperationRequired(TypedDict):
    op: Literal["commit"]
    reservationId: str


class CommitOperation(_CommitOperationRequired, total=False):
    """`POST commit` as an operation of a batch."""

    final: bool
    """With false, this amount is charged and the rest stays held."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    ifExpired: IfExpired
    items: Sequence[ActualBody] | None
    """Figures of a reservation with several items, in the same order; cannot be combined with `quantity`
    or `metadata`."""
    metadata: Mapping[str, Any]
    """Actual figures, merged over the metadata of the reserve."""
    outcome: Outcome | None
    """How useful the result was; can also be sent later with `POST reservations/{id}/outcome`."""
    quantity: Number | None
    """The actual quantity; 0 is allowed."""


class Configuration(TypedDict, total=False):
    """The configuration of an app. A section that is left out stays unchanged; in a section that is
    present, entries that the document does not list are deleted, or with `prune=false` stay unchanged."""

    app: Settings | None
    plans: Sequence[PlanBody] | None
    """Each with its `id`."""
    policies: Sequence[PolicyBody] | None
    """Each with its `id`."""
    webhooks: Sequence[WebhookBody] | None
    """Each with its `id`. A new webhook gets a secret, which the response shows once."""


class _CreditBodyRequired(TypedDict):
    amount: Number
    """In the group's unit."""
    groupId: str
    """A group of the kind `balance`."""
    scope: Mapping[str, str]
    """Whose credit it is, such as `{"user": "u_42"}`: a value for each name in the group's scope."""


class CreditBody(_CreditBodyRequired, total=False):
    """``CreditBody`` of the API."""

    expiresAt: str | None
    """RFC 3339. What remains at this time lapses."""
    note: str | None
    sourceId: str | None
    """What paid for it, such as the ID of a payment, of 1 to 256 bytes. It adds at most one credit to the
    owner in this group: a repetition returns that credit with status 200."""


class _ExplainDraftBodyRequired(TypedDict):
    event: str


class ExplainDraftBody(_ExplainDraftBodyRequired, total=False):
    """An unsaved plan or policy, and a call."""

    metadata: Mapping[str, Any]
    plan: PlanBody | None
    """A plan with its `id`; cannot be combined with `policy`."""
    policy: PolicyBody | None
    """A policy with its `id`; cannot be combined with `plan`."""
    quantity: Number


class _ExtendBodyRequired(TypedDict):
    reservationId: str


class ExtendBody(_ExtendBodyRequired, total=False):
    """``ExtendBody`` of the API."""

    quantity: Number | None
    """Additional amount, checked like a reserve."""
    ttlSeconds: int | None
    """Counted from now; 1 to 3600."""


class _ExtendOperationRequired(TypedDict):
    op: Literal["extend"]
    reservationId: str


class ExtendOperation(_ExtendOperationRequired, total=False):
    """`POST extend` as an operation of a batch."""

    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    quantity: Number | None
    """Additional amount, checked like a reserve."""
    ttlSeconds: int | None
    """Counted from now; 1 to 3600."""


class _FallbackBodyRequired(TypedDict):
    event: str


class FallbackBody(_FallbackBodyRequired, total=False):
    """What the application can call instead."""

    metadata: Mapping[str, Any]


class Filter(TypedDict, total=False):
    """Accepted values per field; a field that is left out accepts all."""

    environments: Sequence[str]
    """Environments of policies."""
    groupIds: Sequence[str]
    owners: Sequence[str]
    """Owners of policies."""
    policyIds: Sequence[str]
    scope: Mapping[str, str]
    """Values of the counter's scope, such as `{"metadata.team": "red"}`."""


class FitBody(TypedDict):
    """The figure that the gateway may reduce to what fits. The sent or estimated value is the most that
    it holds."""

    field: str
    """`quantity`, or a metadata field by which a limit measures the event."""
    min: Number
    """The smallest value that is accepted: a whole number between 1 and 1000000000000."""


class _GrantBodyRequired(TypedDict):
    amount: Number
    """In the group's unit."""
    groupId: str
    scope: Mapping[str, str]
    """Who the grant is for, such as `{"user": "u_42"}`: a value for each name in the group's scope."""


class GrantBody(_GrantBodyRequired, total=False):
    """``GrantBody`` of the API."""

    expiresAt: str | None
    """RFC 3339. Until then the grant enlarges each window. Without it, the grant ends with the present
    window."""
    note: str | None


class _GroupBodyRequired(TypedDict):
    id: str
    matches: Sequence[RuleBody]
    unit: Unit


class GroupBody(_GroupBodyRequired, total=False):
    """One limit group of a plan or policy."""

    alerts: Sequence[int]
    """Ascending percentages of the limit (quota, grants and rolled quota), 1 to 1000. When `used` reaches
    one, an alert is emitted, once per counter, window and limit."""
    alertsBelow: Sequence[Number]
    """Of a balance: descending amounts, in the unit. When the remaining amount falls to one of them or
    below, an alert is emitted, once until new credits raise the balance above it."""
    covers: Sequence[str]
    """Events with these names are denied if no rule of the group matches them."""
    end: str | None
    enforcement: Enforcement
    every: str | None
    kind: LimitKind
    """`balance`: the owner's credits are the room of the group. It has no quota, no period, no
    `rollover`, no `alerts` and no `overflow`, and may have no `matches`."""
    label: str | None
    maxPerCall: Number | None
    """In the unit. A single call with a larger amount is denied."""
    measure: MeasureWord | WeightedBody | None
    onLimit: OnLimitBody | None
    onPlanChange: OnPlanChange
    overflow: str | None
    """ID of a balance group of the same plan or policy, with the same unit and scope: calls take from it
    what does not fit into the quota."""
    periodAnchor: PeriodAnchor | None
    periodType: WindowKind | None
    quota: Number | None
    """In the unit; required unless the kind is `balance`. 0 denies every matching call; null counts
    without limit."""
    rollover: RolloverBody | None
    """When a window ends, its unused quota becomes extra quota of the next window. Needs a quota, and a
    period whose windows follow each other."""
    scope: Sequence[str] | None
    """Who owns the counter of an event: `user` (default), `app`, `key`, `metadata.<name>`, or several of
    them for one counter per combination."""
    start: str | None
    timezone: str | None
    weekStart: WeekDay | None


class _ItemBodyRequired(TypedDict):
    event: str
    """1 to 128 bytes."""


class ItemBody(_ItemBodyRequired, total=False):
    """One event of a call."""

    fit: FitBody | None
    """Hold as much of one figure as fits; in at most one item."""
    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0."""


class _KeyBodyRequired(TypedDict):
    kind: KeyKind


class KeyBody(_KeyBodyRequired, total=False):
    """``KeyBody`` of the API."""

    metadata: Mapping[str, Any]
    """For secret keys: overrides the metadata that the caller sends."""
    mode: KeyMode | None
    """For secret and publishable keys."""
    name: str | None
    origins: Sequence[str]
    """For publishable keys: the origins from which browsers may use the key."""
    requireUserToken: bool
    """For publishable keys: reading usage requires `X-User-Token`."""
    role: Role | None
    """For admin keys."""
    sandbox: str | None
    """For test keys; default `main`."""


class _LearnedEstimateBodyRequired(TypedDict):
    quantile: Number
    """More than 0 and less than 1: of the figures, this share does not exceed the estimate."""
    start: Number
    """The estimate while there are fewer than 100 figures."""


class LearnedEstimateBody(_LearnedEstimateBodyRequired, total=False):
    """The estimate is a quantile of the figures that were committed in the last seven days, for events of
    the same name."""

    by: Sequence[str]
    """Metadata fields whose values are learned separately, such as `model`; none that has a weight in
    `per`."""
    max: Number | None
    """The largest estimate."""


class NoteBody(TypedDict, total=False):
    """``NoteBody`` of the API."""

    note: str | None
    """The reason; recorded in the audit log."""


class OnLimitBody(TypedDict, total=False):
    """Returned with a denial."""

    fallback: FallbackBody | None
    message: str | None
    upgradeUrl: str | None


class OutcomeBody(TypedDict):
    """``OutcomeBody`` of the API."""

    outcome: Outcome


class _OwnerLimitBodyRequired(TypedDict):
    quota: Number | None
    """In the group's unit, instead of the group's quota. 0 denies every matching call; null counts
    without limit."""
    scope: Mapping[str, str]
    """Whose limit it is, such as `{"metadata.team": "red"}`: a value for each name in the group's scope."""


class OwnerLimitBody(_OwnerLimitBodyRequired, total=False):
    """``OwnerLimitBody`` of the API."""

    note: str | None
    until: str | None
    """RFC 3339: the limit ends at this time."""


class OwnerLimitScope(TypedDict):
    """Whose limit to remove."""

    scope: Mapping[str, str]
    """Such as `{"metadata.team": "red"}`: a value for each name in the group's scope."""


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
    """Limit groups that apply to every event of the app with every plan, and who is responsible for them."""

    approval: ApprovalBody | None
    """Shown with each approval request of its groups."""
    end: str | None
    """RFC 3339; end of a `fixed` period."""
    environment: str | None
    """The environment it is meant for, such as `production`."""
    every: str | None
    """ISO 8601 duration of an `every` period."""
    id: str | None
    name: str | None
    notes: str | None
    owner: str | None
    """The team or person responsible for the policy."""
    periodAnchor: PeriodAnchor | None
    periodType: WindowKind | None
    retry: RetryBody | None
    reviewCadence: str | None
    """How often the policy is reviewed: weekly, monthly, quarterly, yearly, or an ISO 8601 duration."""
    route: str | None
    """The model route, product or workflow that it is about."""
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
    """The reason; recorded in the ledger and in the audit log. At most 256 bytes."""


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
    """One `event` with its quantity and metadata, or `items`: several events that are allowed together or
    not at all."""

    event: str | None
    """1 to 128 bytes."""
    fit: FitBody | None
    """Hold as much of one figure as fits."""
    items: Sequence[ItemBody] | None
    """1 to 10 events; cannot be combined with `event`, `quantity`, `metadata` or `fit`."""
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
    fit: FitBody | None
    """Hold as much of one figure as fits."""
    idempotencyKey: str
    """As the `Idempotency-Key` of the call alone."""
    items: Sequence[ItemBody] | None
    """1 to 10 events; cannot be combined with `event`, `quantity`, `metadata` or `fit`."""
    metadata: Mapping[str, Any]
    """At most 32 keys with scalar values."""
    quantity: Number
    """A number or a decimal string, greater than 0; default 1."""
    ttlSeconds: int
    """1 to 3600."""


class ResetBody(TypedDict, total=False):
    """``ResetBody`` of the API."""

    groupId: str | None
    """Without it, every group."""
    note: str | None
    """The reason; recorded in the audit log."""


class _RetryBodyRequired(TypedDict):
    maxAttempts: int
    """Attempts of one action including the first; 1 to 1000."""


class RetryBody(_RetryBodyRequired, total=False):
    """How clients may retry. `maxAttempts` is enforced: matching events with `metadata.action` count as
    attempts of that action."""

    backoff: BackoffBody | None
    nonRetryable: Sequence[str]
    """Error codes of the provider that must not be retried."""


class ReviewBody(TypedDict, total=False):
    """``ReviewBody`` of the API."""

    note: str | None


class RollbackBody(TypedDict):
    """``RollbackBody`` of the API."""

    version: int


class RolloverBody(TypedDict):
    """What becomes of quota that is unused when a window ends."""

    max: Number
    """In the unit, above 0. At most so much becomes extra quota of the next window; of that, nothing is
    rolled over again."""


class _RuleBodyRequired(TypedDict):
    event: str
    """Exact, or a glob in which `*` stands for any run of characters."""


class RuleBody(_RuleBodyRequired, total=False):
    """One match rule of a group."""

    measure: MeasureWord | WeightedBody | None
    metadata: Mapping[str, Any]
    """A value per key, or a list of accepted values; all keys must match."""


class SessionBody(TypedDict):
    """``SessionBody`` of the API."""

    key: str
    """An admin key (`ak_…`)."""


class Settings(TypedDict, total=False):
    """``Settings`` of the API."""

    currency: str | None
    """How the dashboard writes cents: ISO 4217, such as `USD`. Null: as cents."""
    defaultPlanId: str | None
    """The plan of users without a subscription; it may only have calendar and endless groups. Null: such
    users are denied."""
    maxScopeValues: int
    """How many values (or combinations of values) of one scope with metadata may have counters at the
    same time, in each mode (and bucket, with placement `user`). Calls with further values are denied.
    1 to 10,000,000."""
    onStoreFailure: OnStoreFailure
    reportLabels: Sequence[str]
    """Metadata fields that reports can group and filter by, in addition to those that groups use and the
    documented ones: at most 16."""


class _SubscribeBodyRequired(TypedDict):
    planId: str
    userId: str


class SubscribeBody(_SubscribeBodyRequired, total=False):
    """``SubscribeBody`` of the API."""

    customLimits: Mapping[str, Any] | None
    """`{groupId: {quota}}`, or a whole plan body that replaces the plan's limits. Null clears them. They
    are dropped when the user moves to another plan."""
    cycleStart: str | None
    """RFC 3339; the time from which windows are counted instead. Null clears it."""
    endsAt: str | None
    """RFC 3339; the subscription ends then. Null clears it."""
    note: str | None
    """The reason; recorded in the audit log if something changes. At most 1,024 bytes."""
    resetUsage: bool
    """With another anchor or plan: start at 0."""
    startedAt: str | None
    """RFC 3339, not in the future. Default: now, or unchanged on the same plan."""


class _TrackBodyRequired(TypedDict):
    event: str
    """A name that ends in `.refund` refunds an earlier charge."""
    userId: str


class TrackBody(_TrackBodyRequired, total=False):
    """``TrackBody`` of the API."""

    enforce: bool
    """Count only if the limit allows it; otherwise the call fails with 429."""
    metadata: Mapping[str, Any]
    quantity: Number


class _TrackOperationRequired(TypedDict):
    event: str
    """A name that ends in `.refund` refunds an earlier charge."""
    op: Literal["track"]
    userId: str


class TrackOperation(_TrackOperationRequired, total=False):
    """`POST track` as an operation of a batch."""

    enforce: bool
    """Count only if the limit allows it; otherwise the call fails with 429."""
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


class VoidBody(TypedDict, total=False):
    """What to remove of a credit."""

    amount: Number | None
    """In the group's unit, at most what remains. Without it, all that remains is removed, and what open
    reservations return later is voided too."""
    note: str | None


class _WebhookBodyRequired(TypedDict):
    events: Sequence[WebhookEvent]
    """At least one."""
    url: str
    """`http` or `https`."""


class WebhookBody(_WebhookBodyRequired, total=False):
    """A webhook as clients write it."""

    filter: Filter
    """Only events that match everything given here."""
    id: str | None
    modes: Sequence[str]
    """Whose events: `live`, `test` (every sandbox) or `test/<sandbox>`."""
    template: str | None
    """The payload's `text`, for chats, with the placeholders `{event}`, `{group}`, `{percent}`, `{used}`,
    `{held}`, `{blocked}`, `{quota}`, `{limit}`, `{remaining}`, `{unit}`, `{scope}`, `{owner}`,
    `{policy}`, `{resetsAt}`, `{user}`, `{requested}`, `{status}`."""


class _WeightedBodyRequired(TypedDict):
    per: Mapping[str, Number]


class WeightedBody(_WeightedBodyRequired, total=False):
    """A sum of numeric metadata fields (or the words `quantity`, `event`) times exact weights."""

    estimate: Mapping[str, Number | LearnedEstimateBody]
    """Used for fields that a reserve does not know yet."""


class WhatifBody(TypedDict, total=False):
    """A draft of a plan or policy."""

    entries: int | None
    """How many of the newest ledger and denial entries to replay, 100 to 50000; default 20000."""
    plan: PlanBody | None
    """A plan with its `id`; cannot be combined with `policy`."""
    policy: PolicyBody | None
    """A policy with its `id`; cannot be combined with `plan`."""
    usersOf: str | None
    """Replay with the users of this plan; default: the users of the drafted plan."""
