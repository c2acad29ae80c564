"""The answers of the gateway.

Generated from the gateway's openapi.json by tools/generate_models.py; do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from quotagate import _json
from quotagate._json import Amount, Model

ApprovalStatus: TypeAlias = Literal["open", "approved", "rejected"]
"""The status of a request."""

ChangeAction: TypeAlias = Literal["create", "update", "delete"]

CreditStatus: TypeAlias = Literal["live", "used", "expired", "voided"]
"""The status of a credit."""

DeliveryStatus: TypeAlias = Literal["pending", "delivered", "dead"]
"""The status of a delivery."""

DeniedCall: TypeAlias = Literal["reserve", "track", "extend"]
"""The call that was denied."""

Effect: TypeAlias = Literal["carried", "new", "reset", "blocked", "closed"]
"""The effect on a counter."""

Enforcement: TypeAlias = Literal["hard", "soft", "observe", "approval"]
"""What happens when the quota is reached."""

EntryKind: TypeAlias = Literal[
    "commit",
    "draw",
    "release",
    "track",
    "refund",
    "reset",
    "rollover",
    "expire",
    "outcome",
    "credit",
    "lapse",
    "void",
    "denial",
]
"""The kind of an entry."""

KeyKind: TypeAlias = Literal["secret", "publishable", "admin"]
"""The kind of a key."""

KeyMode: TypeAlias = Literal["live", "test"]
"""Live or test, also part of a key's prefix."""

LimitKind: TypeAlias = Literal["quota", "balance"]
"""Where the room of a group comes from: its quota, or credits."""

MatchStatus: TypeAlias = Literal["matched", "unmatched", "no_subscription", "over_limit"]
"""The match status of a tracked event."""

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

Reason: TypeAlias = Literal[
    "user_blocked",
    "no_subscription",
    "unmatched_event",
    "uncovered_event",
    "missing_scope",
    "call_too_large",
    "limit_reached",
    "approval_required",
]

Role: TypeAlias = Literal["viewer", "support", "approver", "admin"]
"""The permissions of an operator; each role includes those before it."""

Status: TypeAlias = Literal["held", "expired", "committed", "released"]

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

WhatifCut: TypeAlias = Literal["entries", "time", "size"]
"""Why not all recorded entries were read."""

WindowKind: TypeAlias = Literal[
    "minute", "hourly", "daily", "weekly", "monthly", "yearly", "lifetime", "every", "fixed", "concurrent"
]
"""The kind of a window; also the `periodType` of a plan or group. The default is `lifetime`, which never
renews its quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView(Model):
    """An entry of the history."""

    data: dict[str, Any]
    text: str
    """A text for chats."""
    timestamp: str
    """RFC 3339, UTC."""
    type: WebhookEvent
    """`threshold.reached`, `limit.reached` …."""
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppView(Model):
    """``AppView`` of the API."""

    created_at: str
    """RFC 3339, UTC."""
    id: str
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Model):
    """The result of applying a document."""

    changes: tuple[ChangeView, ...]
    """Empty if nothing would change."""
    complete: bool
    """False if not all users could be checked in time, or the draft has faults."""
    over_limit: tuple[OverLimit, ...]
    """Groups with a lowered quota, and the users whose usage in the current window exceeds the new quota."""
    applied: bool
    """False for a dry run, or if nothing differs."""
    revision: int | None = None
    """Of a dry run: the revision of the configuration that the document was compared with, for
    `If-Match`."""
    unlisted: tuple[str, ...] = ()
    """With `prune=false`: the entries that the document does not list and that stay, as `plan:<id>`,
    `policy:<id>` or `webhook:<id>`."""
    webhook_secrets: dict[str, str] = field(default_factory=dict)
    """The secrets of the webhooks that were created, by their ids. They are shown once, and not when the
    call is repeated by its idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalBody(Model):
    """Who may approve, and on what condition; informational."""

    approvers: tuple[str, ...] = ()
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView(Model):
    """A request for approval. Amounts are in the unit."""

    approval: ApprovalBody | None = None
    decided: Decided | None = None
    event: str
    group_id: str
    held: Amount
    id: str
    key_id: str
    """ID of the key of that call."""
    label: str
    limit: Amount
    """Quota and grants at the time of the request."""
    metadata: dict[str, str]
    owner: str | None = None
    policy_id: str | None = None
    """The group's policy, its owner, and who may approve on what condition."""
    requested: Amount
    """The amount that the call requested."""
    requested_at: str
    """RFC 3339, UTC."""
    requested_by: str
    """The user of the call that opened it."""
    scope: dict[str, str]
    """The owner of the counter."""
    status: ApprovalStatus
    unit: Unit | None = None
    used: Amount
    """At the time of the request."""
    window_ends_at: str | None = None
    """RFC 3339; the end of the window at the time of the request; null for lifetime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView(Model):
    """One change."""

    action: str
    actor: str
    """Id of the key that made the change."""
    after: Any = None
    """Null if it was deleted."""
    at: str
    """RFC 3339, UTC, by Redis time."""
    before: Any = None
    """Null if it did not exist before."""
    id: str
    note: str | None = None
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffBody(Model):
    """How long to wait between attempts: `initialMs × factor^n`, at most `maxMs`."""

    factor: int | None = None
    """1 to 10; default 2."""
    initial_ms: int
    max_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView(Model):
    """The results of a batch, in the order of its operations."""

    results: tuple[ResultView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanUseDetail(Model):
    """The state of one matched group."""

    current: Amount
    """`used + held`."""
    group_id: str
    quota: Amount | None = None
    resets_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanUseView(Model):
    """The answer that a reserve would get now."""

    allowed: bool
    details: tuple[CanUseDetail, ...]
    fitted: dict[str, int] | None = None
    """For an allowed call with `fit`: the field and the value that would be held."""
    matched: bool
    matched_group_ids: tuple[str, ...]
    observed: tuple[ObservedView, ...] = ()
    """Groups with the enforcement `observe` that would have denied the call; absent if there are none."""
    overflow: tuple[OverflowView, ...] = ()
    """What balances would take over, because it does not fit into a group's quota; absent if nothing."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView(Model):
    """``ChangeView`` of the API."""

    action: ChangeAction
    fields: tuple[Difference, ...]
    target: str
    """`plan:<id>`, `policy:<id>`, `webhook:<id>` or `app`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedView(Model):
    """The charge of a group. Of a balance, `amount` is what was used of it."""

    amount: Amount
    credited: Amount | None = None
    """Of a balance: what was added as credits, such as what was sold. Absent if nothing was, as the next
    two."""
    group_id: str
    lapsed: Amount | None = None
    """Of a balance: what credits had left when they expired, or got back later."""
    unit: Unit
    voided: Amount | None = None
    """Of a balance: what was removed from credits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView(Model):
    """A sandbox's clock."""

    now: str | None = None
    """Null while the sandbox runs on real time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Model):
    """The configuration of an app. A section that is left out stays unchanged; in a section that is
    present, entries that the document does not list are deleted, or with `prune=false` stay unchanged."""

    app: Settings | None = None
    plans: tuple[PlanBody, ...] | None = None
    """Each with its `id`."""
    policies: tuple[PolicyBody, ...] | None = None
    """Each with its `id`."""
    webhooks: tuple[WebhookBody, ...] | None = None
    """Each with its `id`. A new webhook gets a secret, which the response shows once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterView(Model):
    """The state of one limit group for one scope value in one period window. Amounts are in the unit."""

    blocked: Amount
    count: Amount
    """`used + held`."""
    expires_next: ExpiresNextView | None = None
    """Of a balance: the amount that expires next, and when. Absent if nothing expires."""
    granted: Amount
    group_id: str
    held: Amount
    kind: LimitKind | None = None
    """`balance`; absent for a group with a quota."""
    label: str
    overage: Amount
    """Of a balance, what was used without a credit."""
    overflow: str | None = None
    """ID of the balance that takes what does not fit into the quota; absent if there is none."""
    percent_used: int | None = None
    """`used` in whole percent of quota, grants and rolled quota; null if the quota is null or 0."""
    period: PeriodView | None = None
    """Null while a fixed period is not running, and for a balance."""
    quota: Amount | None = None
    """Null counts without limit."""
    remaining: Amount | None = None
    """Null without a quota; of a balance, what remains of its credits."""
    resets_at: str | None = None
    """When the next window begins; null for `lifetime`, and if there is no next window."""
    rolled: Amount | None = None
    """Quota that was unused in the window before, and is extra quota in this one; absent without
    `rollover`."""
    scope: dict[str, str]
    unit: Unit
    used: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Model):
    """A prepaid amount. `amount` is the sum of `remaining`, `held`, `used`, `lapsed` and `voided`."""

    amount: Amount
    created_at: str
    created_by: str
    """ID of the key."""
    expires_at: str | None = None
    """RFC 3339; null if it does not expire."""
    group_id: str
    held: Amount
    """Held by open reservations, which can still be committed after the credit has expired or was voided."""
    id: str
    lapsed: Amount
    """What remained when the credit expired, and what was returned later."""
    note: str | None = None
    remaining: Amount
    scope: dict[str, str]
    """Whose credit it is, such as `{"user": "u_42"}`: a value for each name in the group's scope."""
    source_id: str | None = None
    """What paid for it, such as the ID of a payment. It adds at most one credit to the owner in this
    group."""
    status: CreditStatus
    unit: Unit
    used: Amount
    voided: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Model):
    """The decision on a request."""

    amount: Amount | None = None
    """In the group's unit."""
    at: str
    """RFC 3339, UTC."""
    by: str
    """ID of the key."""
    note: str | None = None
    rollback_owner: str | None = None
    """Who undoes the approval if it causes a problem."""
    until: str | None = None
    """RFC 3339; absent if the grant ends with the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView(Model):
    """The answer to reserve and extend."""

    allowed: bool
    counters: tuple[CounterView, ...]
    """The tightest counter first."""
    degraded: bool = False
    """Redis was unavailable, and the app's `onStoreFailure` is `allow`: allowed without a reservation, or
    denied by what the node knew."""
    denied_by: tuple[DeniedByView, ...]
    expires_at: str | None = None
    fitted: dict[str, int] | None = None
    """For an allowed call with `fit`: the field and the value that was held."""
    matched: bool
    matched_group_ids: tuple[str, ...]
    observed: tuple[ObservedView, ...] = ()
    """Groups with the enforcement `observe` that would have denied the call; absent if there are none."""
    overflow: tuple[OverflowView, ...] = ()
    """Amounts that balances take over because they do not fit into a group's quota; absent if there are
    none."""
    reasons: tuple[Reason, ...]
    """The first category of refusal; empty if allowed."""
    reservation_id: str | None = None
    retry: RetryView | None = None
    retry_after_ms: int | None = None
    """Until the last of the denying windows ends; absent if waiting does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePreview(Model):
    """What a deletion would remove or affect. Nothing was written."""

    complete: bool
    """False if not everything could be searched in time, so there may be more."""
    grants: int
    """Active grants in all modes for groups that exist nowhere else."""
    groups: tuple[GroupLeft, ...]
    is_default: bool
    """It is the app's default plan, which cannot be deleted."""
    open_approvals: int
    """Open approval requests in all modes for groups that exist nowhere else."""
    refusal: str | None = None
    """Why the deletion would fail now with `plan_in_use`; null if it would succeed."""
    users: tuple[UsersOn, ...]
    """Users with a running subscription to the plan, by mode; modes without users are left out. With
    `moveTo` they are moved."""
    webhooks: tuple[str, ...]
    """IDs of webhooks whose filter names only the policy, or only groups that exist nowhere else: they no
    longer receive events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryHealth(Model):
    """How the deliveries to a webhook go."""

    attempted: int
    """Of the newest 100 deliveries, those that were attempted."""
    dead: int
    """Dead letters: given up after 24 hours."""
    failed: int
    """Of these, those whose last attempt failed."""
    last: LastAttempt | None = None
    """The last attempt; null if there was none."""
    pending: int
    """Waiting for an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView(Model):
    """One message to one webhook."""

    attempts: int
    created_at: str
    """RFC 3339, UTC, as all times here."""
    error: str | None = None
    """Why the last attempt failed; null if it succeeded."""
    event: str
    id: str
    """Also sent as the `webhook-id` header, the same in every attempt."""
    last_attempt_at: str | None = None
    next_attempt_at: str | None = None
    """Null if there is no further attempt."""
    payload: dict[str, Any]
    """The message that is sent."""
    response_status: int | None = None
    """The status of the last response; null if there was none."""
    status: DeliveryStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedByView(Model):
    """A group that denied the call."""

    approval: OpenedView | None = None
    """The approval request that was opened."""
    group_id: str
    label: str
    missing_scope: tuple[str, ...] = ()
    """Names in the group's scope that are missing in the call."""
    on_limit: OnLimitBody | None = None
    """`onLimit` as configured in the group."""
    remaining: Amount | None = None
    requested: Amount
    resets_at: str | None = None
    scope_full: bool = False
    """The scope has reached the maximum number of values; see `maxScopeValues` of the app."""
    too_many_approvals: bool = False
    """No approval request was opened, because the user has 100 open ones or the app has 10,000."""
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Model):
    """One field that differs; absent on the side that does not have it."""

    after: Any = None
    before: Any = None
    path: str
    """A path such as `groups.lg_pro.quota`: items of a list are named by their ID if they have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChargeView(Model):
    """The change of one counter."""

    balance: Amount
    """`used` after the change; of a credit, what was used of it."""
    change: Amount
    """Negative for a refund."""
    credit_id: str | None = None
    """The credit, if the group is a balance; absent for what no credit covers."""
    from_: str | None = None
    """The group whose quota the call exceeds, if its balance took over."""
    group_id: str
    scope: dict[str, str]
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHeldView(Model):
    """The amount that an expired reservation held."""

    amount: Amount
    group_id: str
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCharge(Model):
    """The change of one counter. Amounts are in the unit."""

    amount: Amount
    """Negative for a refund."""
    balance: Amount
    """`used` after the change."""
    from_: str | None = None
    """The group whose quota was exceeded, if the group is the balance that took over."""
    group_id: str
    rolled: Amount | None = None
    """For a rollover: the extra quota of the window, which was unused in the window before. For a reset:
    what it has kept of that."""
    scope: dict[str, str]
    unit: Unit
    window: str
    """Sequence number of the counter's window, ascending. `GET usage/history` has its times. Of a balance
    `b` and the number of the credit, with `.credited`, `.lapsed` or `.voided` if nothing was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDeniedBy(Model):
    """A counter whose limit denied the call, or would have denied it. Amounts are in the unit."""

    count: Amount
    """Used plus held at the time of the denial."""
    group_id: str
    limit: Amount
    """Quota, grants and rolled quota, minus blocked amounts."""
    observed: bool = False
    """The group has the enforcement `observe`: it would have denied the call."""
    requested: Amount
    scope: dict[str, str]
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeld(Model):
    """The amount of a group that an expired reservation held, in the unit."""

    amount: Amount
    group_id: str
    unit: Unit
    window: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventItem(Model):
    """One event of a call with several."""

    event: str
    metadata: dict[str, str]
    quantity: Amount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolicy(Model):
    """``EventPolicy`` of the API."""

    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView(Model):
    """A change of counters, the end of a reservation, or a denied call. Times are RFC 3339, UTC."""

    call: DeniedCall | None = None
    """For a denial: the call that was denied."""
    charges: tuple[EventCharge, ...]
    """Every counter that matched, even if it did not change."""
    created_at: str | None = None
    """When the reservation was made."""
    degraded: bool = False
    """The call was allowed while Redis was unavailable, and counted later."""
    denied: tuple[EventDeniedBy, ...] = ()
    """For a denial: the counters whose limit was reached, and those that only observe."""
    error_code: str | None = None
    event: str | None = None
    """The first event of a call with several."""
    event_id: str | None = None
    """The ID that `track` returned."""
    fitted: dict[str, int] = field(default_factory=dict)
    """For a reservation with `fit`: the field and the value that was held."""
    held: tuple[EventHeld, ...] = ()
    """For an expiry: the amounts that had been held."""
    id: str
    """A stable ID."""
    items: tuple[EventItem, ...] = ()
    """For a call with several events: all of them."""
    key_id: str | None = None
    late: bool
    """The charge came after the reservation had expired."""
    metadata: dict[str, str] | None = None
    """The request's metadata, overridden by the actual metadata. For a call with several events, that of
    the first."""
    observed: bool = False
    """For a denial: the call was allowed, since the groups that would have denied it have the enforcement
    `observe`."""
    outcome: Outcome | None = None
    outcome_before: Outcome | None = None
    """The outcome that this one replaces."""
    plan_id: str | None = None
    """The plan version in effect."""
    plan_version: int | None = None
    policies: tuple[EventPolicy, ...] = ()
    """The policies that matched."""
    quantity: Amount | None = None
    """The requested quantity, or the actual one; for a draw or refund, its own. For a call with several
    events, that of the first."""
    reason: str | None = None
    """For a denial: the category, such as `limit_reached`. For a release: the reason given by the caller."""
    recorded_at: str
    """When it was recorded, in real time; events are sorted by this time."""
    reservation_id: str | None = None
    timestamp: str
    """When it happened, by the test clock in a sandbox; for an expiry, when the hold ended."""
    type: EntryKind
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiresNextView(Model):
    """What remains of the credits that expire next."""

    amount: Amount
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCallView(Model):
    """The answer that a reserve would get now."""

    allowed: bool
    blocked: bool
    """The user is blocked, regardless of limits."""
    denied_by: tuple[DeniedByView, ...]
    errors: tuple[FieldError, ...]
    """If not empty, the call would be rejected as invalid because of these fields."""
    estimated: dict[str, Amount] = field(default_factory=dict)
    """The learned estimates of figures that the call does not have; absent if there are none."""
    event: str
    groups: tuple[ExplainedGroupView, ...]
    """The groups of the plan, then those of all policies."""
    metadata: dict[str, str]
    """Including the metadata of the key."""
    observed: tuple[ObservedView, ...] = ()
    """Groups with the enforcement `observe` that would have denied the call; absent if there are none."""
    overflow: tuple[OverflowView, ...] = ()
    """What balances would take over, because it does not fit into a group's quota; absent if nothing."""
    plan: ExplainedPlanView | None = None
    """Null without a subscription and a default plan; then only policies apply."""
    quantity: Amount
    reasons: tuple[Reason, ...]
    """The first category of refusal; empty if the call is allowed."""
    retry_after_ms: int | None = None
    subscription: SubscriptionView | None = None
    """Null without a running subscription."""
    summary: str
    """The result and its cause in one sentence."""
    user_id: str
    user_known: bool
    """False: nothing is stored of this user. A mistyped id looks like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedDraftView(Model):
    """How the groups of a draft treat a call."""

    groups: tuple[ExplainedGroupView, ...]
    """The groups of the draft; for a plan, the groups of the policies too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedGroupView(Model):
    """How one group treats the call."""

    amount: Amount | None = None
    """The amount that the group counts for the call."""
    balance: CounterView | None = None
    """The balance that takes over what does not fit into the limit; absent if the call fits without it."""
    counter: CounterView | None = None
    """The counter that the call is charged to."""
    error: FieldError | None = None
    """Why the call's amount cannot be computed."""
    grants: tuple[LiveGrantView, ...]
    """Active grants of the counter."""
    group_id: str
    label: str
    limit: Amount | None = None
    """Quota, grants and rolled quota, minus blocked amounts; absent without a quota."""
    matches: bool
    """At least one rule matches."""
    missing_scope: tuple[str, ...] = ()
    """Names in the group's scope that are missing in the call; if any, the group does not count it."""
    observed: bool = False
    """The group has the enforcement `observe`, and would refuse the call otherwise."""
    opens_at: str | None = None
    outside_period: bool = False
    """A fixed period is not running: it begins at that time, or is over if the time is absent."""
    over_limit: bool
    """The call would exceed the limit, and what remains of its balance."""
    plan_id: str | None = None
    """The plan or policy that contains the group."""
    policy_id: str | None = None
    refuses: bool
    """The group refuses the call."""
    rule: int | None = None
    """Index of the matching rule, from 0."""
    rules: tuple[TriedRuleView, ...]
    """The rules in their order, up to the first that matches."""
    too_large: bool = False
    """The amount exceeds `maxPerCall`."""
    uncovered: bool = False
    """No rule matches, but `covers` names the event, so the group denies the call."""
    unit: Unit
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedItemView(Model):
    """One event of a reservation."""

    estimated: dict[str, Amount] = field(default_factory=dict)
    """The learned estimates that the reserve used for figures that it did not have; absent if there are
    none."""
    event: str
    groups: tuple[ExplainedGroupView, ...]
    metadata: dict[str, str]
    quantity: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPlanView(Model):
    """The plan in effect."""

    id: str
    is_default: bool
    """The user has no subscription, so the app's default plan applies."""
    own_limits: bool
    """The user has custom limits instead of the plan's."""
    unmatched_events: UnmatchedEvents
    """How events are treated that no group of the plan matches."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedReservationView(Model):
    """What happened to a reservation."""

    counters: tuple[ReservedView, ...]
    """What the reservation holds and was charged, per counter and window, and per credit of a balance;
    empty when its record no longer exists."""
    created_at: str
    entries: tuple[ReservationEntryView, ...]
    """The reservation's ledger entries, oldest first."""
    entries_complete: bool
    """False if there were too many entries to check them all."""
    event: str | None = None
    expires_at: str | None = None
    """Absent when the reservation's record no longer exists."""
    fitted: FittedFigureView | None = None
    """The figure that was reduced to what fitted, with the range that the call accepted."""
    items: tuple[ExplainedItemView, ...]
    """The request, and how the groups of those versions treat it."""
    key_id: str | None = None
    """ID of the key that reserved."""
    late: bool
    """Something was charged after the reservation had expired."""
    outcome: Outcome | None = None
    plan: HeldVersionView | None = None
    """The plan in whose groups the reservation held; absent if unknown."""
    policies: tuple[HeldVersionView, ...]
    """The policies that matched."""
    reservation_id: str
    status: Status
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationView(Model):
    """Why a call was or would be allowed or denied."""

    call: ExplainedCallView | None = None
    """For `userId` and `event`: the answer that a reserve would get now."""
    reservation: ExplainedReservationView | None = None
    """For `reservationId`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackBody(Model):
    """What the application can call instead."""

    event: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError(Model):
    """Names the field (a path such as `groups[2].quota`). The message continues the sentence that the
    field begins."""

    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguresView(Model):
    """The actual figures of one item."""

    metadata: dict[str, str]
    quantity: Amount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(Model):
    """Accepted values per field; a field that is left out accepts all."""

    environments: tuple[str, ...] = ()
    """Environments of policies."""
    group_ids: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    """Owners of policies."""
    policy_ids: tuple[str, ...] = ()
    scope: dict[str, str] = field(default_factory=dict)
    """Values of the counter's scope, such as `{"metadata.team": "red"}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedFigureView(Model):
    """A figure of a reservation that was fitted."""

    field: str
    """`quantity`, or a metadata field."""
    item: int
    """The index of the event in `items`."""
    min: int
    value: int
    """The value that was held."""
    wish: int
    """The value that was sent or estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastCounterView(Model):
    """A counter with its forecast. Amounts are in the unit."""

    by_days: RateView | None = None
    """By charges of the last complete days, at most 7; null without such days, and before `forecastFrom`."""
    by_window: RateView | None = None
    """By usage since the start of the window; null before `forecastFrom`."""
    days: int
    """The number of those days."""
    forecast_from: str
    """There is no forecast before this time: a tenth of the window (a day of an endless one) since the
    window and the subscription began."""
    group_id: str
    label: str
    limit: Amount
    """Quota, grants and rolled quota, minus blocked amounts."""
    period: PeriodView | None = None
    projected: Amount | None = None
    """Forecast of `used` at the end of the window, by the faster rate; null if it never ends, and before
    `forecastFrom`."""
    range: RangeView | None = None
    """The range of the forecast: the slowest and the fastest of the complete days and of the window so
    far. Without complete days from no further use to twice the window's rate. Null before
    `forecastFrom`."""
    runs_out_at: str | None = None
    """When the limit is reached by the faster rate; null if not before the window ends."""
    unit: Unit
    used: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastView(Model):
    """The forecast of a user's counters."""

    at: str
    """The present time, RFC 3339."""
    data: tuple[ForecastCounterView, ...]
    """The user's counters with a quota, except `concurrent` ones."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Model):
    """A grant as stored and returned."""

    amount: Amount
    approval_id: str | None = None
    """The approval request that led to the grant."""
    created_at: str
    created_by: str
    """ID of the key."""
    ends_at: str | None = None
    """RFC 3339: when it ends, as far as known; null if never."""
    expires_at: str | None = None
    """RFC 3339. Until then the grant enlarges each window. Null if it ends with the window in which it
    was made."""
    group_id: str
    id: str
    note: str | None = None
    scope: dict[str, str]
    """Who the grant is for, such as `{"user": "u_42"}`: a value for each name in the group's scope."""
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBody(Model):
    """One limit group of a plan or policy."""

    alerts: tuple[int, ...] = ()
    """Ascending percentages of the limit (quota, grants and rolled quota), 1 to 1000. When `used` reaches
    one, an alert is emitted, once per counter, window and limit."""
    alerts_below: tuple[Amount | str, ...] = ()
    """Of a balance: descending amounts, in the unit. When the remaining amount falls to one of them or
    below, an alert is emitted, once until new credits raise the balance above it."""
    covers: tuple[str, ...] = ()
    """Events with these names are denied if no rule of the group matches them."""
    end: str | None = None
    enforcement: Enforcement | None = None
    every: str | None = None
    id: str
    kind: LimitKind | None = None
    """`balance`: the owner's credits are the room of the group. It has no quota, no period, no
    `rollover`, no `alerts` and no `overflow`, and may have no `matches`."""
    label: str | None = None
    matches: tuple[RuleBody, ...]
    max_per_call: Amount | str | None = None
    """In the unit. A single call with a larger amount is denied."""
    measure: MeasureWord | WeightedBody | None = None
    on_limit: OnLimitBody | None = None
    on_plan_change: OnPlanChange | None = None
    overflow: str | None = None
    """ID of a balance group of the same plan or policy, with the same unit and scope: calls take from it
    what does not fit into the quota."""
    period_anchor: PeriodAnchor | None = None
    period_type: WindowKind | None = None
    quota: Amount | str | None = None
    """In the unit; required unless the kind is `balance`. 0 denies every matching call; null counts
    without limit."""
    rollover: RolloverBody | None = None
    """When a window ends, its unused quota becomes extra quota of the next window. Needs a quota, and a
    period whose windows follow each other."""
    scope: tuple[str, ...] | None = None
    """Who owns the counter of an event: `user` (default), `app`, `key`, `metadata.<name>`, or several of
    them for one counter per combination."""
    start: str | None = None
    timezone: str | None = None
    unit: Unit
    week_start: WeekDay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLeft(Model):
    """A limit group of the plan or policy."""

    also_in: tuple[str, ...]
    """IDs of other plans with the group; if empty, the group ends."""
    group_id: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimitsView(Model):
    """``GroupLimitsView`` of the API."""

    at_limit: int
    group_id: str
    near: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening(Model):
    """An event as webhooks and the history contain it."""

    data: dict[str, Any]
    text: str
    """A text for chats."""
    timestamp: str
    """RFC 3339, UTC."""
    type: WebhookEvent
    """`threshold.reached`, `limit.reached` …."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVersionView(Model):
    """A plan or policy at the version in effect when the reservation was made."""

    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldView(Model):
    """``HeldView`` of the API."""

    amount: Amount
    group_id: str
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView(Model):
    """A key as clients see it. `key` and `userTokenSecret` are shown once, at creation."""

    created_at: str
    id: str
    key: str | None = None
    kind: KeyKind
    metadata: dict[str, str] = field(default_factory=dict)
    mode: KeyMode | None = None
    name: str | None = None
    origins: tuple[str, ...] = ()
    prefix: str
    require_user_token: bool
    role: Role | None = None
    sandbox: str | None = None
    user_token_secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt(Model):
    """The last attempt to deliver."""

    at: str
    """RFC 3339, UTC."""
    error: str | None = None
    """Null if it succeeded."""
    response_status: int | None = None
    """The HTTP status; null without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedEstimateBody(Model):
    """The estimate is a quantile of the figures that were committed in the last seven days, for events of
    the same name."""

    by: tuple[str, ...] = ()
    """Metadata fields whose values are learned separately, such as `model`; none that has a weight in
    `per`."""
    max: Amount | str | None = None
    """The largest estimate."""
    quantile: Amount | str
    """More than 0 and less than 1: of the figures, this share does not exceed the estimate."""
    start: Amount | str
    """The estimate while there are fewer than 100 figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedEstimateView(Model):
    """What was learned about one figure of an event."""

    by: dict[str, str] | None = None
    """The metadata values; an empty value stands for calls without the field. Null: all combinations
    together that came after the limit on combinations was reached."""
    compared: int
    """How many of them are of reservations that used a learned estimate."""
    event: str
    exceeded: int
    """How many of those exceeded the estimate."""
    field: str
    """The name of the metadata field."""
    learned: bool
    """False: there are fewer than 100 samples, so the value is `start`."""
    max: Amount | None = None
    quantile: Amount
    samples: int
    """The figures of the last seven days."""
    start: Amount
    value: Amount
    """The estimate of this line. If several groups learn the figure of a call, the call uses the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsView(Model):
    """Counters at and near their limits."""

    at: str
    """RFC 3339, by the clock of the mode."""
    at_limit: tuple[CounterView, ...]
    """Counters that are fully used, those furthest over their limits first."""
    complete: bool
    """False if some recent events are not processed yet."""
    groups: tuple[GroupLimitsView, ...]
    """The number of such counters per group, as of their last charge or denial."""
    more: bool
    """True if there are more counters than are known, so the counts are minimums."""
    near: tuple[CounterView, ...]
    """Counters that are used to at least 75 %, the fullest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveGrantView(Model):
    """An active grant."""

    amount: Amount
    ends_at: str | None = None
    """Null if it never ends."""
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MismatchView(Model):
    """Why a rule does not match."""

    field: str
    """`event`, or `metadata.<name>`."""
    found: str | None = None
    """Absent if the call does not have the field."""
    message: str
    """The same as a sentence."""
    wanted: tuple[str, ...]
    """The values that match, or the event's pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedCounterView(Model):
    """A counter as it would be."""

    blocked: Amount
    count: Amount
    """`used + held`."""
    expires_next: ExpiresNextView | None = None
    """Of a balance: the amount that expires next, and when. Absent if nothing expires."""
    granted: Amount
    group_id: str
    held: Amount
    kind: LimitKind | None = None
    """`balance`; absent for a group with a quota."""
    label: str
    overage: Amount
    """Of a balance, what was used without a credit."""
    overflow: str | None = None
    """ID of the balance that takes what does not fit into the quota; absent if there is none."""
    percent_used: int | None = None
    """`used` in whole percent of quota, grants and rolled quota; null if the quota is null or 0."""
    period: PeriodView | None = None
    """Null while a fixed period is not running, and for a balance."""
    quota: Amount | None = None
    """Null counts without limit."""
    remaining: Amount | None = None
    """Null without a quota; of a balance, what remains of its credits."""
    resets_at: str | None = None
    """When the next window begins; null for `lifetime`, and if there is no next window."""
    rolled: Amount | None = None
    """Quota that was unused in the window before, and is extra quota in this one; absent without
    `rollover`."""
    scope: dict[str, str]
    unit: Unit
    used: Amount
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAbout(Model):
    """The heartbeat of a node."""

    address: str
    """Where it listens."""
    host: str
    """The machine's name, if it has one."""
    id: str
    seen_at: str
    started_at: str
    """RFC 3339, by Redis time."""
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView(Model):
    """A node, and whether its heartbeat is recent."""

    address: str
    """Where it listens."""
    host: str
    """The machine's name, if it has one."""
    id: str
    seen_at: str
    started_at: str
    """RFC 3339, by Redis time."""
    version: str
    silent: bool
    """There was no heartbeat for 15 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedView(Model):
    """A group with the enforcement `observe` that would have denied the call. Amounts are in the unit."""

    group_id: str
    missing_scope: tuple[str, ...] = ()
    """Names in the group's scope that are missing in the call."""
    reason: Reason | None = None
    """Present if it is another reason than `limit_reached`."""
    remaining: Amount | None = None
    """Before this call. Null if the group cannot count the call: without a value of its scope, or without
    a rule."""
    requested: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class OnLimitBody(Model):
    """Returned with a denial."""

    fallback: FallbackBody | None = None
    message: str | None = None
    upgrade_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReservationView(Model):
    """``OpenReservationView`` of the API."""

    created_at: str
    event: str
    expires_at: str
    held: tuple[HeldView, ...]
    reservation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedView(Model):
    """A request for approval."""

    id: str
    status: str
    """`open` or `rejected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeView(Model):
    """The outcome of a commit."""

    outcome: Outcome
    replayed: bool = False
    """The same outcome was recorded before; nothing changed."""
    reservation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverLimit(Model):
    """``OverLimit`` of the API."""

    group_id: str
    plan_id: str
    quota_after: Amount
    quota_before: Amount | None = None
    """Null counted without limit."""
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OverflowView(Model):
    """An amount that a call took from a balance because it did not fit into a group's quota."""

    amount: Amount
    from_: str
    """The group whose quota the call exceeds."""
    group_id: str
    """The balance group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLimit(Model):
    """A limit of one owner."""

    group_id: str
    note: str | None = None
    quota: Amount | None = None
    """Instead of the group's quota. 0 denies every matching call; null counts without limit."""
    scope: dict[str, str]
    """Whose limit it is, such as `{"metadata.team": "red"}`: a value for each name in the group's scope."""
    unit: Unit
    until: str | None = None
    """RFC 3339: the limit ends at this time. Null if it does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView(Model):
    """The state of a background task of this node."""

    name: str
    """`key_changes`, `webhooks`, `rollups`, `degraded_reserves`, `journal`, `node_list`, `estimates`,
    `metrics`, `embedded_redis`."""
    ok: bool
    restarts: int
    """How often it has ended and was restarted."""
    since: str | None = None
    """Since when it has failed (RFC 3339, by this node's clock)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodView(Model):
    """Start and end of a window; RFC 3339, UTC."""

    end: str | None = None
    """Null if it never ends."""
    start: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBody(Model):
    """A named set of limit groups for users."""

    end: str | None = None
    """RFC 3339; end of a `fixed` period."""
    every: str | None = None
    """ISO 8601 duration of an `every` period."""
    groups: tuple[GroupBody, ...]
    id: str | None = None
    name: str | None = None
    period_anchor: PeriodAnchor | None = None
    period_type: WindowKind | None = None
    start: str | None = None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None = None
    """IANA name; default UTC."""
    unmatched_events: UnmatchedEvents | None = None
    week_start: WeekDay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView(Model):
    """A plan with its version, which is also its `ETag`."""

    end: str | None = None
    """RFC 3339; end of a `fixed` period."""
    every: str | None = None
    """ISO 8601 duration of an `every` period."""
    groups: tuple[GroupBody, ...]
    id: str | None = None
    name: str | None = None
    period_anchor: PeriodAnchor | None = None
    period_type: WindowKind | None = None
    start: str | None = None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None = None
    """IANA name; default UTC."""
    unmatched_events: UnmatchedEvents | None = None
    week_start: WeekDay | None = None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBody(Model):
    """Limit groups that apply to every event of the app with every plan, and who is responsible for them."""

    approval: ApprovalBody | None = None
    """Shown with each approval request of its groups."""
    end: str | None = None
    """RFC 3339; end of a `fixed` period."""
    environment: str | None = None
    """The environment it is meant for, such as `production`."""
    every: str | None = None
    """ISO 8601 duration of an `every` period."""
    groups: tuple[GroupBody, ...]
    id: str | None = None
    name: str | None = None
    notes: str | None = None
    owner: str | None = None
    """The team or person responsible for the policy."""
    period_anchor: PeriodAnchor | None = None
    period_type: WindowKind | None = None
    retry: RetryBody | None = None
    review_cadence: str | None = None
    """How often the policy is reviewed: weekly, monthly, quarterly, yearly, or an ISO 8601 duration."""
    route: str | None = None
    """The model route, product or workflow that it is about."""
    start: str | None = None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None = None
    """IANA name; default UTC."""
    week_start: WeekDay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersionView(Model):
    """One version of a policy."""

    created_at: str
    """RFC 3339, UTC."""
    created_by: str
    """ID of the key that wrote it."""
    policy: PolicyBody
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView(Model):
    """A policy with its version, which is also its `ETag`, and the date of its next review."""

    approval: ApprovalBody | None = None
    """Shown with each approval request of its groups."""
    end: str | None = None
    """RFC 3339; end of a `fixed` period."""
    environment: str | None = None
    """The environment it is meant for, such as `production`."""
    every: str | None = None
    """ISO 8601 duration of an `every` period."""
    groups: tuple[GroupBody, ...]
    id: str | None = None
    name: str | None = None
    notes: str | None = None
    owner: str | None = None
    """The team or person responsible for the policy."""
    period_anchor: PeriodAnchor | None = None
    period_type: WindowKind | None = None
    retry: RetryBody | None = None
    review_cadence: str | None = None
    """How often the policy is reviewed: weekly, monthly, quarterly, yearly, or an ISO 8601 duration."""
    route: str | None = None
    """The model route, product or workflow that it is about."""
    start: str | None = None
    """RFC 3339; start of a `fixed` period, or the anchor of an `every` period."""
    timezone: str | None = None
    """IANA name; default UTC."""
    week_start: WeekDay | None = None
    review_due: bool = False
    """The review is due."""
    review_due_at: str | None = None
    """RFC 3339, by `reviewCadence`; null without one."""
    reviewed: Review | None = None
    """The last review, or the last change if that is later."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Model):
    """``Preview`` of the API."""

    changes: tuple[ChangeView, ...]
    """Empty if nothing would change."""
    complete: bool
    """False if not all users could be checked in time, or the draft has faults."""
    over_limit: tuple[OverLimit, ...]
    """Groups with a lowered quota, and the users whose usage in the current window exceeds the new quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Model):
    """An error as in RFC 9457, with a `code` for programs."""

    code: str
    decision: DecisionView | None = None
    """With a denial (`onDeny=429`, `enforce`): the whole decision."""
    detail: str
    errors: tuple[FieldError, ...] = ()
    preview: Applied | None = None
    """With a dry run of `PUT configuration` that would be refused: what it would change."""
    request_id: str
    reservation_status: str | None = None
    """With `reservation_not_pending`: `held`, `committed` or `released`."""
    status: int
    title: str
    type: str
    """`https://quotagate.dev/problems/<code>`: an identifier, not necessarily a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileView(Model):
    """A user's display name and tags."""

    name: str | None = None
    """At most 128 characters."""
    tags: tuple[str, ...] = ()
    """At most 16, each of 1 to 32 characters."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeView(Model):
    """The slowest and the fastest rate to expect."""

    fast: RateView
    slow: RateView


@dataclass(frozen=True, slots=True, kw_only=True)
class RateView(Model):
    """``RateView`` of the API."""

    per_day: Amount
    projected: Amount | None = None
    runs_out_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyView(Model):
    """``ReadyView`` of the API."""

    parts: tuple[PartView, ...]
    """The node's background tasks. The node stays ready if one fails, since no decision depends on them."""
    ready: bool
    redis_version: str | None = None
    warnings: tuple[str, ...]
    """Warnings for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentWhatif(Model):
    """How a draft would have changed recent decisions."""

    calls: int
    """The number of calls: allowed reservations and denials."""
    denied_otherwise: int
    """Denied under both, but by other groups or for another reason."""
    draft: str
    """The name of the draft."""
    entries: int
    """Number of ledger and denial entries, or rows of the trace."""
    groups: tuple[WhatifGroup, ...]
    most_affected: tuple[WhatifUser, ...]
    newly_allowed: WhatifChanged
    newly_denied: WhatifChanged
    observed: WhatifChanged
    """Calls that the draft allows, and that its groups with the enforcement `observe` would have denied."""
    present: WhatifSide | None = None
    """The present rules, replayed in the same way: what the draft is compared with. Null for a trace."""
    present_rules: WhatifAgreement | None = None
    """Null for a trace."""
    recorded: WhatifSide
    """What was recorded. For a trace: as if nothing were denied."""
    seconds: Amount
    since: str | None = None
    """Times of the first and last replayed call; null if there was none."""
    source: str
    """The source of the calls."""
    under_draft: WhatifSide
    unmeasured: int
    """Commits whose figures the draft cannot measure; the held amounts were charged."""
    unread_owners: int
    """Owners beyond the first 20000, whose own limits were not read: the quota of the limit group applies
    to them."""
    until: str | None = None
    whole: bool
    """False if older entries are missing, so counters begin with the amounts before the first stored
    entry."""
    cut: WhatifCut | None = None
    """Null if all recorded entries were read. Otherwise counters begin with the amounts that are known
    for `since`, and those of new groups with 0."""
    most_entries: int
    """The maximum number of entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLineView(Model):
    """The sums of a line. A line of one group (`by=group`, `groupId=`) has only `calls`, `denials`,
    `observed`, `charged` and `ratios`: calls that matched the group, denials because the group's limit
    was reached, and calls that it would have denied."""

    accepted: int | None = None
    by: dict[str, str | None]
    """A value for each name in `by`; null for calls without the value, `(other)` for values beyond the
    limit of distinct values."""
    calls: int
    """Final commits and tracked events."""
    charged: tuple[ChargedView, ...]
    """Per group, in its unit, minus refunds."""
    cost: Amount | None = None
    """Cents."""
    cost_per_accepted: Amount | None = None
    """Cents per accepted result; null without an accepted result."""
    degraded: int | None = None
    """Calls that were allowed while Redis was unavailable and counted later."""
    denials: int
    denials_by_reason: dict[str, int] | None = None
    draws: int | None = None
    """Commits with `final:false`."""
    end: str
    """Last day, inclusive."""
    expiries: int | None = None
    """Reservations that expired."""
    figures: dict[str, Amount] | None = None
    """Sums of numeric metadata fields."""
    late: int | None = None
    """Commits after the reservation had expired."""
    observed: int
    """Calls that were allowed, and that groups with the enforcement `observe` would have denied. In a
    line of one group: calls that this group would have denied, including those that another limit
    denied."""
    quantity: Amount | None = None
    ratios: dict[str, Amount | None]
    """By the text of the ratio; null if its second operand is 0."""
    refunds: int | None = None
    rejected: int | None = None
    released: int | None = None
    """Reservations that were released."""
    retries: int | None = None
    retry_share: Amount | None = None
    """The share of calls that were retries; null without calls."""
    start: str
    """First day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView(Model):
    """Sums of usage, line by line."""

    complete: bool
    """False if some recent events are not counted yet."""
    data: tuple[ReportLineView, ...]
    """By time, then by the values of `by`."""
    from_: str
    """First day."""
    next_cursor: str | None = None
    period: str
    """`day`, `week`, `month` or `total`."""
    to: str
    """Last day, inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationEntryView(Model):
    """An entry of the ledger."""

    at: str
    charges: tuple[EntryChargeView, ...]
    error_code: str | None = None
    figures: tuple[FiguresView, ...] = ()
    """The figures of the call, per item; empty if it charged the held amounts."""
    held: tuple[EntryHeldView, ...] = ()
    """For an expiry: the amount that was held until then."""
    id: str
    late: bool
    outcome: Outcome | None = None
    reason: str | None = None
    type: EntryKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedView(Model):
    """The amounts of a reservation in one window of a counter."""

    charged: Amount
    credit_id: str | None = None
    """The credit, if the group is a balance; absent for what no credit covers."""
    from_: str | None = None
    """The group whose quota the call exceeds, if its balance took over."""
    group_id: str
    held: Amount
    kind: LimitKind | None = None
    """`balance`; absent for a group with a quota."""
    period: PeriodView | None = None
    """Null if that window is over, and for a balance."""
    scope: dict[str, str]
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView(Model):
    """The result of one operation."""

    body: DecisionView | CanUseView | SettlementView | TrackedView | Problem
    """The body that the single call would return, or a problem."""
    replayed: bool = False
    """True if this is the stored answer of an earlier call with the same idempotency key, like the header
    `Idempotent-Replayed`."""
    status: int
    """The HTTP status that the single call would return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBody(Model):
    """How clients may retry. `maxAttempts` is enforced: matching events with `metadata.action` count as
    attempts of that action."""

    backoff: BackoffBody | None = None
    max_attempts: int
    """Attempts of one action including the first; 1 to 1000."""
    non_retryable: tuple[str, ...] = ()
    """Error codes of the provider that must not be retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryView(Model):
    """How the client may retry, by the strictest policy that matched."""

    attempts_left: int | None = None
    """Attempts of this action including this call; absent without `metadata.action`."""
    backoff: BackoffBody | None = None
    max_attempts: int
    non_retryable: tuple[str, ...]
    """Error codes that must not be retried."""
    policy_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review(Model):
    """When a policy was last reviewed."""

    at: str
    """RFC 3339, UTC."""
    by: str
    """ID of the key."""
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloverBody(Model):
    """What becomes of quota that is unused when a window ends."""

    max: Amount | str
    """In the unit, above 0. At most so much becomes extra quota of the next window; of that, nothing is
    rolled over again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBody(Model):
    """One match rule of a group."""

    event: str
    """Exact, or a glob in which `*` stands for any run of characters."""
    measure: MeasureWord | WeightedBody | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    """A value per key, or a list of accepted values; all keys must match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxView(Model):
    """A sandbox of test mode."""

    mode: str
    """The value for `X-Mode`."""
    now: str | None = None
    """The time of its clock; null while it runs on real time."""
    sandbox: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView(Model):
    """The signed-in operator."""

    app: str | None = None
    """Null for the root key, which names its app in `X-App`."""
    csrf_token: str
    """Must be sent as `X-CSRF-Token` with every write."""
    expires_at: str
    key_id: str
    name: str | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Model):
    """``Settings`` of the API."""

    currency: str | None = None
    """How the dashboard writes cents: ISO 4217, such as `USD`. Null: as cents."""
    default_plan_id: str | None = None
    """The plan of users without a subscription; it may only have calendar and endless groups. Null: such
    users are denied."""
    max_scope_values: int | None = None
    """How many values (or combinations of values) of one scope with metadata may have counters at the
    same time, in each mode (and bucket, with placement `user`). Calls with further values are denied.
    1 to 10,000,000."""
    on_store_failure: OnStoreFailure | None = None
    report_labels: tuple[str, ...] = ()
    """Metadata fields that reports can group and filter by, in addition to those that groups use and the
    documented ones: at most 16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementView(Model):
    """The state of a reservation after the call."""

    counters: tuple[CounterView, ...]
    """The counters of the reservation, in the windows in which it was held."""
    late: bool = False
    """The amount was charged after the reservation had expired."""
    overflow: tuple[OverflowView, ...] = ()
    """What was charged to balances, because it did not fit into a group's quota; absent if nothing."""
    replayed: bool = False
    """The same call was made before; nothing changed."""
    reservation_id: str
    status: str
    """`held`, `committed` or `released`."""
    thresholds: tuple[ThresholdView, ...] = ()
    """Alerts that this call triggered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPreviewView(Model):
    """How a subscription would change the user's counters. Nothing was written."""

    counters: tuple[MovedCounterView, ...]
    """Counters of the plan's groups that count per user."""
    ended_group_ids: tuple[str, ...]
    """Groups, without balances, that only the present plan has. They end, unless a policy has the same
    group."""
    subscription: SubscriptionView


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionView(Model):
    """A subscription as clients see it."""

    changed: bool | None = None
    """After a write: false if nothing changed."""
    custom_limits: dict[str, Any] | None = None
    """Replaces the plan's limits."""
    cycle_start: str | None = None
    ends_at: str | None = None
    plan_id: str
    started_at: str
    """RFC 3339, UTC, whole seconds."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdView(Model):
    """An alert that a call triggered."""

    group_id: str
    percent: int
    """Percent of quota and grants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedView(Model):
    """What was counted."""

    counters: tuple[CounterView, ...]
    event_id: str
    match_status: MatchStatus
    matched_group_ids: tuple[str, ...]
    observed: tuple[ObservedView, ...] = ()
    """With `enforce`: groups with the enforcement `observe` that would have denied the call; absent if
    there are none."""
    overflow: tuple[OverflowView, ...] = ()
    """What balances took over, because it did not fit into a group's quota; absent if nothing."""
    thresholds: tuple[ThresholdView, ...] = ()
    """Alerts that this call triggered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRuleView(Model):
    """A rule that was evaluated."""

    event: str
    """The rule's event pattern."""
    matches: bool
    mismatches: tuple[MismatchView, ...]
    """Everything that prevents a match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualLineView(Model):
    """``UnusualLineView`` of the API."""

    by: dict[str, str | None]
    deviation: Amount
    """The standard deviation of the days before."""
    mean: Amount
    """The mean of the days before, per day."""
    metric: str
    """`calls`, `denials`, `cost` (cents) or, with `by=group`, `charged` (in the group's unit)."""
    value: Amount
    """The value of the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualView(Model):
    """A value that differs strongly from the days before."""

    data: tuple[UnusualLineView, ...]
    day: str
    from_: str
    """The first day of the comparison; it ends with the day before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView(Model):
    """A user's counters now."""

    counters: tuple[CounterView, ...]
    period: PeriodView | None = None
    """The window of the plan's default period."""
    plan_id: str | None = None
    """Null without a subscription."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChanged(Model):
    """The result of blocking or resetting."""

    blocked: bool
    changed: bool
    """False if nothing changed."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDetailView(Model):
    """Everything about one user."""

    name: str | None = None
    """At most 128 characters."""
    tags: tuple[str, ...] = ()
    """At most 16, each of 1 to 32 characters."""
    blocked: bool
    counters: tuple[CounterView, ...]
    grants: tuple[Grant, ...]
    history: tuple[WindowView, ...]
    """Closed windows, newest first."""
    open_reservations: tuple[OpenReservationView, ...]
    """At most 100, those that expire first."""
    period: PeriodView | None = None
    plan_id: str | None = None
    """The plan in effect: the subscription's, or the app's default."""
    subscription: SubscriptionView | None = None
    """Null without a running subscription."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserProfile(Model):
    """A user's display name and tags, shown and searched in the dashboard."""

    name: str | None = None
    """At most 128 characters."""
    tags: tuple[str, ...] = ()
    """At most 16, each of 1 to 32 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView(Model):
    """A user in a list."""

    name: str | None = None
    """At most 128 characters."""
    tags: tuple[str, ...] = ()
    """At most 16, each of 1 to 32 characters."""
    blocked: bool
    subscription: SubscriptionView | None = None
    """Null without a running subscription."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersOn(Model):
    """The users of one mode."""

    mode: str
    """`live` or `test/<sandbox>`."""
    own_limits: int
    """How many of them have custom limits, which are dropped when they are moved."""
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView(Model):
    """One version of a plan."""

    created_at: str
    """RFC 3339, UTC."""
    created_by: str
    """ID of the key that wrote it."""
    plan: PlanBody
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookBody(Model):
    """A webhook as clients write it."""

    events: tuple[WebhookEvent, ...]
    """At least one."""
    filter: Filter | None = None
    """Only events that match everything given here."""
    id: str | None = None
    modes: tuple[str, ...] = ()
    """Whose events: `live`, `test` (every sandbox) or `test/<sandbox>`."""
    template: str | None = None
    """The payload's `text`, for chats, with the placeholders `{event}`, `{group}`, `{percent}`, `{used}`,
    `{held}`, `{blocked}`, `{quota}`, `{limit}`, `{remaining}`, `{unit}`, `{scope}`, `{owner}`,
    `{policy}`, `{resetsAt}`, `{user}`, `{requested}`, `{status}`."""
    url: str
    """`http` or `https`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView(Model):
    """A webhook. Its secret is shown only in the answer to the call that creates or rotates it, and not
    if that call is repeated with its idempotency key."""

    events: tuple[WebhookEvent, ...]
    """At least one."""
    filter: Filter | None = None
    """Only events that match everything given here."""
    id: str | None = None
    modes: tuple[str, ...] = ()
    """Whose events: `live`, `test` (every sandbox) or `test/<sandbox>`."""
    template: str | None = None
    """The payload's `text`, for chats, with the placeholders `{event}`, `{group}`, `{percent}`, `{used}`,
    `{held}`, `{blocked}`, `{quota}`, `{limit}`, `{remaining}`, `{unit}`, `{scope}`, `{owner}`,
    `{policy}`, `{resetsAt}`, `{user}`, `{requested}`, `{status}`."""
    url: str
    """`http` or `https`."""
    created_at: str
    """RFC 3339, UTC."""
    deliveries: DeliveryHealth | None = None
    """How its deliveries go, in the mode of the call; only where webhooks are read."""
    secret: str | None = None
    """Standard Webhooks: `whsec_` + base64 of 32 random bytes."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedBody(Model):
    """A sum of numeric metadata fields (or the words `quantity`, `event`) times exact weights."""

    estimate: dict[str, Amount | str | LearnedEstimateBody] = field(default_factory=dict)
    """Used for fields that a reserve does not know yet."""
    per: dict[str, Amount | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifAgreement(Model):
    """How closely a replay of the present rules matches the recorded decisions."""

    agree: int
    """Allowed or denied as they were."""
    calls: int
    denied_otherwise: int
    """Denied as they were, but by other groups or for another reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifChanged(Model):
    """Calls that the draft decides differently from the present rules."""

    by_group: dict[str, int]
    """A call that several groups deny counts for each of them."""
    by_reason: dict[str, int]
    calls: int
    examples: tuple[WhatifExample, ...]
    """The first examples."""
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifDeniedBy(Model):
    """A group over its limit, with its state at the time of the call."""

    count: Amount
    """`used + held`."""
    group_id: str
    limit: Amount
    requested: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifExample(Model):
    """A call that the draft decides differently from the present rules."""

    at: str
    """RFC 3339, UTC."""
    event: str | None = None
    groups: tuple[WhatifDeniedBy, ...]
    reason: str
    """Why the draft denies it, or why the present rules deny it."""
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifGroup(Model):
    """The usage of a group, in its unit."""

    draft: Amount
    group_id: str
    present: Amount | None = None
    """Under the present rules, replayed in the same way; null for a trace."""
    recorded: Amount
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifReport(Model):
    """How a draft would have changed decisions."""

    calls: int
    """The number of calls: allowed reservations and denials."""
    denied_otherwise: int
    """Denied under both, but by other groups or for another reason."""
    draft: str
    """The name of the draft."""
    entries: int
    """Number of ledger and denial entries, or rows of the trace."""
    groups: tuple[WhatifGroup, ...]
    most_affected: tuple[WhatifUser, ...]
    newly_allowed: WhatifChanged
    newly_denied: WhatifChanged
    observed: WhatifChanged
    """Calls that the draft allows, and that its groups with the enforcement `observe` would have denied."""
    present: WhatifSide | None = None
    """The present rules, replayed in the same way: what the draft is compared with. Null for a trace."""
    present_rules: WhatifAgreement | None = None
    """Null for a trace."""
    recorded: WhatifSide
    """What was recorded. For a trace: as if nothing were denied."""
    seconds: Amount
    since: str | None = None
    """Times of the first and last replayed call; null if there was none."""
    source: str
    """The source of the calls."""
    under_draft: WhatifSide
    unmeasured: int
    """Commits whose figures the draft cannot measure; the held amounts were charged."""
    unread_owners: int
    """Owners beyond the first 20000, whose own limits were not read: the quota of the limit group applies
    to them."""
    until: str | None = None
    whole: bool
    """False if older entries are missing, so counters begin with the amounts before the first stored
    entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifSide(Model):
    """How calls were or would be decided."""

    allowed: int
    cents: Amount | None = None
    """Charges in cents: for each call its largest charge in a group of cents."""
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatifUser(Model):
    """A user whose calls the draft would decide differently."""

    cents_draft: Amount
    cents_present: Amount
    """Under the present rules; for a trace as if nothing were denied."""
    newly_allowed: int
    newly_denied: int
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowView(Model):
    """One window of one counter. Amounts are in the unit."""

    final: bool
    """The window is over, and nothing can be charged to it or refunded any more."""
    granted: Amount
    """Extra quota by grants when the window ended, or now."""
    group_id: str
    label: str
    overage: Amount
    """`max(0, used - quota - granted - rolled)`."""
    period: PeriodView
    quota: Amount | None = None
    """The quota at the last call in the window, or the present quota if the window is running. Null
    counts without limit."""
    rolled: Amount | None = None
    """Extra quota that was unused in the window before, if there was any."""
    scope: dict[str, str]
    unit: Unit
    used: Amount
    window: str
    """Sequence number of the window, as in events."""


AlertView._fields = {
    "data": ("data", _json.record, True),
    "text": ("text", _json.text, True),
    "timestamp": ("timestamp", _json.text, True),
    "type": ("type", _json.text, True),
    "id": ("id", _json.text, True),
}
AppView._fields = {
    "createdAt": ("created_at", _json.text, True),
    "id": ("id", _json.text, True),
    "placement": ("placement", _json.text, True),
}
Applied._fields = {
    "changes": ("changes", _json.list_of(ChangeView.from_json), True),
    "complete": ("complete", _json.flag, True),
    "overLimit": ("over_limit", _json.list_of(OverLimit.from_json), True),
    "applied": ("applied", _json.flag, True),
    "revision": ("revision", _json.whole, False),
    "unlisted": ("unlisted", _json.list_of(_json.text), False),
    "webhookSecrets": ("webhook_secrets", _json.map_of(_json.text), False),
}
ApprovalBody._fields = {
    "approvers": ("approvers", _json.list_of(_json.text), False),
    "condition": ("condition", _json.text, False),
}
ApprovalView._fields = {
    "approval": ("approval", ApprovalBody.from_json, False),
    "decided": ("decided", Decided.from_json, False),
    "event": ("event", _json.text, True),
    "groupId": ("group_id", _json.text, True),
    "held": ("held", _json.amount, True),
    "id": ("id", _json.text, True),
    "keyId": ("key_id", _json.text, True),
    "label": ("label", _json.text, True),
    "limit": ("limit", _json.amount, True),
    "metadata": ("metadata", _json.map_of(_json.text), True),
    "owner": ("owner", _json.text, False),
    "policyId": ("policy_id", _json.text, False),
    "requested": ("requested", _json.amount, True),
    "requestedAt": ("requested_at", _json.text, True),
    "requestedBy": ("requested_by", _json.text, True),
    "scope": ("scope", _json.map_of(_json.text), True),
    "status": ("status", _json.text, True),
    "unit": ("unit", _json.text, False),
    "used": ("used", _json.amount, True),
    "windowEndsAt": ("window_ends_at", _json.text, False),
}
AuditView._fields = {
    "action": ("action", _json.text, True),
    "actor": ("actor", _json.text, True),
    "after": ("after", _json.anything, False),
    "at": ("at", _json.text, True),
    "before": ("before", _json.anything, False),
    "id": ("id", _json.text, True),
    "note": ("note", _json.text, False),
    "target": ("target", _json.text, True),
}
BackoffBody._fields = {
    "factor": ("factor", _json.whole, False),
    "initialMs": ("initial_ms", _json.whole, True),
    "maxMs": ("max_ms", _json.whole, False),
}
BatchView._fields = {
    "results": ("results", _json.list_of(ResultView.from_json), True),
}
CanUseDetail._fields = {
    "current": ("current", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "quota": ("quota", _json.amount, False),
    "resetsAt": ("resets_at", _json.text, False),
}
CanUseView._fields = {
    "allowed": ("allowed", _json.flag, True),
    "details": ("details", _json.list_of(CanUseDetail.from_json), True),
    "fitted": ("fitted", _json.map_of(_json.whole), False),
    "matched": ("matched", _json.flag, True),
    "matchedGroupIds": ("matched_group_ids", _json.list_of(_json.text), True),
    "observed": ("observed", _json.list_of(ObservedView.from_json), False),
    "overflow": ("overflow", _json.list_of(OverflowView.from_json), False),
    "reasons": ("reasons", _json.list_of(_json.text), True),
}
ChangeView._fields = {
    "action": ("action", _json.text, True),
    "fields": ("fields", _json.list_of(Difference.from_json), True),
    "target": ("target", _json.text, True),
}
ChargedView._fields = {
    "amount": ("amount", _json.amount, True),
    "credited": ("credited", _json.amount, False),
    "groupId": ("group_id", _json.text, True),
    "lapsed": ("lapsed", _json.amount, False),
    "unit": ("unit", _json.text, True),
    "voided": ("voided", _json.amount, False),
}
ClockView._fields = {
    "now": ("now", _json.text, False),
}
Configuration._fields = {
    "app": ("app", Settings.from_json, False),
    "plans": ("plans", _json.list_of(PlanBody.from_json), False),
    "policies": ("policies", _json.list_of(PolicyBody.from_json), False),
    "webhooks": ("webhooks", _json.list_of(WebhookBody.from_json), False),
}
CounterView._fields = {
    "blocked": ("blocked", _json.amount, True),
    "count": ("count", _json.amount, True),
    "expiresNext": ("expires_next", ExpiresNextView.from_json, False),
    "granted": ("granted", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "held": ("held", _json.amount, True),
    "kind": ("kind", _json.text, False),
    "label": ("label", _json.text, True),
    "overage": ("overage", _json.amount, True),
    "overflow": ("overflow", _json.text, False),
    "percentUsed": ("percent_used", _json.whole, False),
    "period": ("period", PeriodView.from_json, False),
    "quota": ("quota", _json.amount, False),
    "remaining": ("remaining", _json.amount, False),
    "resetsAt": ("resets_at", _json.text, False),
    "rolled": ("rolled", _json.amount, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
    "used": ("used", _json.amount, True),
}
Credit._fields = {
    "amount": ("amount", _json.amount, True),
    "createdAt": ("created_at", _json.text, True),
    "createdBy": ("created_by", _json.text, True),
    "expiresAt": ("expires_at", _json.text, False),
    "groupId": ("group_id", _json.text, True),
    "held": ("held", _json.amount, True),
    "id": ("id", _json.text, True),
    "lapsed": ("lapsed", _json.amount, True),
    "note": ("note", _json.text, False),
    "remaining": ("remaining", _json.amount, True),
    "scope": ("scope", _json.map_of(_json.text), True),
    "sourceId": ("source_id", _json.text, False),
    "status": ("status", _json.text, True),
    "unit": ("unit", _json.text, True),
    "used": ("used", _json.amount, True),
    "voided": ("voided", _json.amount, True),
}
Decided._fields = {
    "amount": ("amount", _json.amount, False),
    "at": ("at", _json.text, True),
    "by": ("by", _json.text, True),
    "note": ("note", _json.text, False),
    "rollbackOwner": ("rollback_owner", _json.text, False),
    "until": ("until", _json.text, False),
}
DecisionView._fields = {
    "allowed": ("allowed", _json.flag, True),
    "counters": ("counters", _json.list_of(CounterView.from_json), True),
    "degraded": ("degraded", _json.flag, False),
    "deniedBy": ("denied_by", _json.list_of(DeniedByView.from_json), True),
    "expiresAt": ("expires_at", _json.text, False),
    "fitted": ("fitted", _json.map_of(_json.whole), False),
    "matched": ("matched", _json.flag, True),
    "matchedGroupIds": ("matched_group_ids", _json.list_of(_json.text), True),
    "observed": ("observed", _json.list_of(ObservedView.from_json), False),
    "overflow": ("overflow", _json.list_of(OverflowView.from_json), False),
    "reasons": ("reasons", _json.list_of(_json.text), True),
    "reservationId": ("reservation_id", _json.text, False),
    "retry": ("retry", RetryView.from_json, False),
    "retryAfterMs": ("retry_after_ms", _json.whole, False),
}
DeletePreview._fields = {
    "complete": ("complete", _json.flag, True),
    "grants": ("grants", _json.whole, True),
    "groups": ("groups", _json.list_of(GroupLeft.from_json), True),
    "isDefault": ("is_default", _json.flag, True),
    "openApprovals": ("open_approvals", _json.whole, True),
    "refusal": ("refusal", _json.text, False),
    "users": ("users", _json.list_of(UsersOn.from_json), True),
    "webhooks": ("webhooks", _json.list_of(_json.text), True),
}
DeliveryHealth._fields = {
    "attempted": ("attempted", _json.whole, True),
    "dead": ("dead", _json.whole, True),
    "failed": ("failed", _json.whole, True),
    "last": ("last", LastAttempt.from_json, False),
    "pending": ("pending", _json.whole, True),
}
DeliveryView._fields = {
    "attempts": ("attempts", _json.whole, True),
    "createdAt": ("created_at", _json.text, True),
    "error": ("error", _json.text, False),
    "event": ("event", _json.text, True),
    "id": ("id", _json.text, True),
    "lastAttemptAt": ("last_attempt_at", _json.text, False),
    "nextAttemptAt": ("next_attempt_at", _json.text, False),
    "payload": ("payload", _json.record, True),
    "responseStatus": ("response_status", _json.whole, False),
    "status": ("status", _json.text, True),
}
DeniedByView._fields = {
    "approval": ("approval", OpenedView.from_json, False),
    "groupId": ("group_id", _json.text, True),
    "label": ("label", _json.text, True),
    "missingScope": ("missing_scope", _json.list_of(_json.text), False),
    "onLimit": ("on_limit", OnLimitBody.from_json, False),
    "remaining": ("remaining", _json.amount, False),
    "requested": ("requested", _json.amount, True),
    "resetsAt": ("resets_at", _json.text, False),
    "scopeFull": ("scope_full", _json.flag, False),
    "tooManyApprovals": ("too_many_approvals", _json.flag, False),
    "unit": ("unit", _json.text, True),
}
Difference._fields = {
    "after": ("after", _json.anything, False),
    "before": ("before", _json.anything, False),
    "path": ("path", _json.text, True),
}
EntryChargeView._fields = {
    "balance": ("balance", _json.amount, True),
    "change": ("change", _json.amount, True),
    "creditId": ("credit_id", _json.text, False),
    "from": ("from_", _json.text, False),
    "groupId": ("group_id", _json.text, True),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
}
EntryHeldView._fields = {
    "amount": ("amount", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "unit": ("unit", _json.text, True),
}
EventCharge._fields = {
    "amount": ("amount", _json.amount, True),
    "balance": ("balance", _json.amount, True),
    "from": ("from_", _json.text, False),
    "groupId": ("group_id", _json.text, True),
    "rolled": ("rolled", _json.amount, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
    "window": ("window", _json.text, True),
}
EventDeniedBy._fields = {
    "count": ("count", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "limit": ("limit", _json.amount, True),
    "observed": ("observed", _json.flag, False),
    "requested": ("requested", _json.amount, True),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
}
EventHeld._fields = {
    "amount": ("amount", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "unit": ("unit", _json.text, True),
    "window": ("window", _json.text, True),
}
EventItem._fields = {
    "event": ("event", _json.text, True),
    "metadata": ("metadata", _json.map_of(_json.text), True),
    "quantity": ("quantity", _json.amount, False),
}
EventPolicy._fields = {
    "id": ("id", _json.text, True),
    "version": ("version", _json.whole, True),
}
EventView._fields = {
    "call": ("call", _json.text, False),
    "charges": ("charges", _json.list_of(EventCharge.from_json), True),
    "createdAt": ("created_at", _json.text, False),
    "degraded": ("degraded", _json.flag, False),
    "denied": ("denied", _json.list_of(EventDeniedBy.from_json), False),
    "errorCode": ("error_code", _json.text, False),
    "event": ("event", _json.text, False),
    "eventId": ("event_id", _json.text, False),
    "fitted": ("fitted", _json.map_of(_json.whole), False),
    "held": ("held", _json.list_of(EventHeld.from_json), False),
    "id": ("id", _json.text, True),
    "items": ("items", _json.list_of(EventItem.from_json), False),
    "keyId": ("key_id", _json.text, False),
    "late": ("late", _json.flag, True),
    "metadata": ("metadata", _json.map_of(_json.text), False),
    "observed": ("observed", _json.flag, False),
    "outcome": ("outcome", _json.text, False),
    "outcomeBefore": ("outcome_before", _json.text, False),
    "planId": ("plan_id", _json.text, False),
    "planVersion": ("plan_version", _json.whole, False),
    "policies": ("policies", _json.list_of(EventPolicy.from_json), False),
    "quantity": ("quantity", _json.amount, False),
    "reason": ("reason", _json.text, False),
    "recordedAt": ("recorded_at", _json.text, True),
    "reservationId": ("reservation_id", _json.text, False),
    "timestamp": ("timestamp", _json.text, True),
    "type": ("type", _json.text, True),
    "userId": ("user_id", _json.text, False),
}
ExpiresNextView._fields = {
    "amount": ("amount", _json.amount, True),
    "at": ("at", _json.text, True),
}
ExplainedCallView._fields = {
    "allowed": ("allowed", _json.flag, True),
    "blocked": ("blocked", _json.flag, True),
    "deniedBy": ("denied_by", _json.list_of(DeniedByView.from_json), True),
    "errors": ("errors", _json.list_of(FieldError.from_json), True),
    "estimated": ("estimated", _json.map_of(_json.amount), False),
    "event": ("event", _json.text, True),
    "groups": ("groups", _json.list_of(ExplainedGroupView.from_json), True),
    "metadata": ("metadata", _json.map_of(_json.text), True),
    "observed": ("observed", _json.list_of(ObservedView.from_json), False),
    "overflow": ("overflow", _json.list_of(OverflowView.from_json), False),
    "plan": ("plan", ExplainedPlanView.from_json, False),
    "quantity": ("quantity", _json.amount, True),
    "reasons": ("reasons", _json.list_of(_json.text), True),
    "retryAfterMs": ("retry_after_ms", _json.whole, False),
    "subscription": ("subscription", SubscriptionView.from_json, False),
    "summary": ("summary", _json.text, True),
    "userId": ("user_id", _json.text, True),
    "userKnown": ("user_known", _json.flag, True),
}
ExplainedDraftView._fields = {
    "groups": ("groups", _json.list_of(ExplainedGroupView.from_json), True),
}
ExplainedGroupView._fields = {
    "amount": ("amount", _json.amount, False),
    "balance": ("balance", CounterView.from_json, False),
    "counter": ("counter", CounterView.from_json, False),
    "error": ("error", FieldError.from_json, False),
    "grants": ("grants", _json.list_of(LiveGrantView.from_json), True),
    "groupId": ("group_id", _json.text, True),
    "label": ("label", _json.text, True),
    "limit": ("limit", _json.amount, False),
    "matches": ("matches", _json.flag, True),
    "missingScope": ("missing_scope", _json.list_of(_json.text), False),
    "observed": ("observed", _json.flag, False),
    "opensAt": ("opens_at", _json.text, False),
    "outsidePeriod": ("outside_period", _json.flag, False),
    "overLimit": ("over_limit", _json.flag, True),
    "planId": ("plan_id", _json.text, False),
    "policyId": ("policy_id", _json.text, False),
    "refuses": ("refuses", _json.flag, True),
    "rule": ("rule", _json.whole, False),
    "rules": ("rules", _json.list_of(TriedRuleView.from_json), True),
    "tooLarge": ("too_large", _json.flag, False),
    "uncovered": ("uncovered", _json.flag, False),
    "unit": ("unit", _json.text, True),
    "version": ("version", _json.whole, True),
}
ExplainedItemView._fields = {
    "estimated": ("estimated", _json.map_of(_json.amount), False),
    "event": ("event", _json.text, True),
    "groups": ("groups", _json.list_of(ExplainedGroupView.from_json), True),
    "metadata": ("metadata", _json.map_of(_json.text), True),
    "quantity": ("quantity", _json.amount, True),
}
ExplainedPlanView._fields = {
    "id": ("id", _json.text, True),
    "isDefault": ("is_default", _json.flag, True),
    "ownLimits": ("own_limits", _json.flag, True),
    "unmatchedEvents": ("unmatched_events", _json.text, True),
    "version": ("version", _json.whole, True),
}
ExplainedReservationView._fields = {
    "counters": ("counters", _json.list_of(ReservedView.from_json), True),
    "createdAt": ("created_at", _json.text, True),
    "entries": ("entries", _json.list_of(ReservationEntryView.from_json), True),
    "entriesComplete": ("entries_complete", _json.flag, True),
    "event": ("event", _json.text, False),
    "expiresAt": ("expires_at", _json.text, False),
    "fitted": ("fitted", FittedFigureView.from_json, False),
    "items": ("items", _json.list_of(ExplainedItemView.from_json), True),
    "keyId": ("key_id", _json.text, False),
    "late": ("late", _json.flag, True),
    "outcome": ("outcome", _json.text, False),
    "plan": ("plan", HeldVersionView.from_json, False),
    "policies": ("policies", _json.list_of(HeldVersionView.from_json), True),
    "reservationId": ("reservation_id", _json.text, True),
    "status": ("status", _json.text, True),
    "userId": ("user_id", _json.text, False),
}
ExplanationView._fields = {
    "call": ("call", ExplainedCallView.from_json, False),
    "reservation": ("reservation", ExplainedReservationView.from_json, False),
}
FallbackBody._fields = {
    "event": ("event", _json.text, True),
    "metadata": ("metadata", _json.record, False),
}
FieldError._fields = {
    "field": ("field", _json.text, True),
    "message": ("message", _json.text, True),
}
FiguresView._fields = {
    "metadata": ("metadata", _json.map_of(_json.text), True),
    "quantity": ("quantity", _json.amount, False),
}
Filter._fields = {
    "environments": ("environments", _json.list_of(_json.text), False),
    "groupIds": ("group_ids", _json.list_of(_json.text), False),
    "owners": ("owners", _json.list_of(_json.text), False),
    "policyIds": ("policy_ids", _json.list_of(_json.text), False),
    "scope": ("scope", _json.map_of(_json.text), False),
}
FittedFigureView._fields = {
    "field": ("field", _json.text, True),
    "item": ("item", _json.whole, True),
    "min": ("min", _json.whole, True),
    "value": ("value", _json.whole, True),
    "wish": ("wish", _json.whole, True),
}
ForecastCounterView._fields = {
    "byDays": ("by_days", RateView.from_json, False),
    "byWindow": ("by_window", RateView.from_json, False),
    "days": ("days", _json.whole, True),
    "forecastFrom": ("forecast_from", _json.text, True),
    "groupId": ("group_id", _json.text, True),
    "label": ("label", _json.text, True),
    "limit": ("limit", _json.amount, True),
    "period": ("period", PeriodView.from_json, False),
    "projected": ("projected", _json.amount, False),
    "range": ("range", RangeView.from_json, False),
    "runsOutAt": ("runs_out_at", _json.text, False),
    "unit": ("unit", _json.text, True),
    "used": ("used", _json.amount, True),
}
ForecastView._fields = {
    "at": ("at", _json.text, True),
    "data": ("data", _json.list_of(ForecastCounterView.from_json), True),
    "userId": ("user_id", _json.text, True),
}
Grant._fields = {
    "amount": ("amount", _json.amount, True),
    "approvalId": ("approval_id", _json.text, False),
    "createdAt": ("created_at", _json.text, True),
    "createdBy": ("created_by", _json.text, True),
    "endsAt": ("ends_at", _json.text, False),
    "expiresAt": ("expires_at", _json.text, False),
    "groupId": ("group_id", _json.text, True),
    "id": ("id", _json.text, True),
    "note": ("note", _json.text, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
}
GroupBody._fields = {
    "alerts": ("alerts", _json.list_of(_json.whole), False),
    "alertsBelow": ("alerts_below", _json.list_of(_json.one_of(_json.amount, _json.text)), False),
    "covers": ("covers", _json.list_of(_json.text), False),
    "end": ("end", _json.text, False),
    "enforcement": ("enforcement", _json.text, False),
    "every": ("every", _json.text, False),
    "id": ("id", _json.text, True),
    "kind": ("kind", _json.text, False),
    "label": ("label", _json.text, False),
    "matches": ("matches", _json.list_of(RuleBody.from_json), True),
    "maxPerCall": ("max_per_call", _json.one_of(_json.amount, _json.text), False),
    "measure": ("measure", _json.one_of(_json.text, WeightedBody.from_json), False),
    "onLimit": ("on_limit", OnLimitBody.from_json, False),
    "onPlanChange": ("on_plan_change", _json.text, False),
    "overflow": ("overflow", _json.text, False),
    "periodAnchor": ("period_anchor", _json.text, False),
    "periodType": ("period_type", _json.text, False),
    "quota": ("quota", _json.one_of(_json.amount, _json.text), False),
    "rollover": ("rollover", RolloverBody.from_json, False),
    "scope": ("scope", _json.list_of(_json.text), False),
    "start": ("start", _json.text, False),
    "timezone": ("timezone", _json.text, False),
    "unit": ("unit", _json.text, True),
    "weekStart": ("week_start", _json.text, False),
}
GroupLeft._fields = {
    "alsoIn": ("also_in", _json.list_of(_json.text), True),
    "groupId": ("group_id", _json.text, True),
    "label": ("label", _json.text, True),
}
GroupLimitsView._fields = {
    "atLimit": ("at_limit", _json.whole, True),
    "groupId": ("group_id", _json.text, True),
    "near": ("near", _json.whole, True),
}
Happening._fields = {
    "data": ("data", _json.record, True),
    "text": ("text", _json.text, True),
    "timestamp": ("timestamp", _json.text, True),
    "type": ("type", _json.text, True),
}
HeldVersionView._fields = {
    "id": ("id", _json.text, True),
    "version": ("version", _json.whole, True),
}
HeldView._fields = {
    "amount": ("amount", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "unit": ("unit", _json.text, True),
}
KeyView._fields = {
    "createdAt": ("created_at", _json.text, True),
    "id": ("id", _json.text, True),
    "key": ("key", _json.text, False),
    "kind": ("kind", _json.text, True),
    "metadata": ("metadata", _json.map_of(_json.text), False),
    "mode": ("mode", _json.text, False),
    "name": ("name", _json.text, False),
    "origins": ("origins", _json.list_of(_json.text), False),
    "prefix": ("prefix", _json.text, True),
    "requireUserToken": ("require_user_token", _json.flag, True),
    "role": ("role", _json.text, False),
    "sandbox": ("sandbox", _json.text, False),
    "userTokenSecret": ("user_token_secret", _json.text, False),
}
LastAttempt._fields = {
    "at": ("at", _json.text, True),
    "error": ("error", _json.text, False),
    "responseStatus": ("response_status", _json.whole, False),
}
LearnedEstimateBody._fields = {
    "by": ("by", _json.list_of(_json.text), False),
    "max": ("max", _json.one_of(_json.amount, _json.text), False),
    "quantile": ("quantile", _json.one_of(_json.amount, _json.text), True),
    "start": ("start", _json.one_of(_json.amount, _json.text), True),
}
LearnedEstimateView._fields = {
    "by": ("by", _json.map_of(_json.text), False),
    "compared": ("compared", _json.whole, True),
    "event": ("event", _json.text, True),
    "exceeded": ("exceeded", _json.whole, True),
    "field": ("field", _json.text, True),
    "learned": ("learned", _json.flag, True),
    "max": ("max", _json.amount, False),
    "quantile": ("quantile", _json.amount, True),
    "samples": ("samples", _json.whole, True),
    "start": ("start", _json.amount, True),
    "value": ("value", _json.amount, True),
}
LimitsView._fields = {
    "at": ("at", _json.text, True),
    "atLimit": ("at_limit", _json.list_of(CounterView.from_json), True),
    "complete": ("complete", _json.flag, True),
    "groups": ("groups", _json.list_of(GroupLimitsView.from_json), True),
    "more": ("more", _json.flag, True),
    "near": ("near", _json.list_of(CounterView.from_json), True),
}
LiveGrantView._fields = {
    "amount": ("amount", _json.amount, True),
    "endsAt": ("ends_at", _json.text, False),
    "id": ("id", _json.text, True),
}
MismatchView._fields = {
    "field": ("field", _json.text, True),
    "found": ("found", _json.text, False),
    "message": ("message", _json.text, True),
    "wanted": ("wanted", _json.list_of(_json.text), True),
}
MovedCounterView._fields = {
    "blocked": ("blocked", _json.amount, True),
    "count": ("count", _json.amount, True),
    "expiresNext": ("expires_next", ExpiresNextView.from_json, False),
    "granted": ("granted", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "held": ("held", _json.amount, True),
    "kind": ("kind", _json.text, False),
    "label": ("label", _json.text, True),
    "overage": ("overage", _json.amount, True),
    "overflow": ("overflow", _json.text, False),
    "percentUsed": ("percent_used", _json.whole, False),
    "period": ("period", PeriodView.from_json, False),
    "quota": ("quota", _json.amount, False),
    "remaining": ("remaining", _json.amount, False),
    "resetsAt": ("resets_at", _json.text, False),
    "rolled": ("rolled", _json.amount, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
    "used": ("used", _json.amount, True),
    "effect": ("effect", _json.text, True),
}
NodeAbout._fields = {
    "address": ("address", _json.text, True),
    "host": ("host", _json.text, True),
    "id": ("id", _json.text, True),
    "seenAt": ("seen_at", _json.text, True),
    "startedAt": ("started_at", _json.text, True),
    "version": ("version", _json.text, True),
}
NodeView._fields = {
    "address": ("address", _json.text, True),
    "host": ("host", _json.text, True),
    "id": ("id", _json.text, True),
    "seenAt": ("seen_at", _json.text, True),
    "startedAt": ("started_at", _json.text, True),
    "version": ("version", _json.text, True),
    "silent": ("silent", _json.flag, True),
}
ObservedView._fields = {
    "groupId": ("group_id", _json.text, True),
    "missingScope": ("missing_scope", _json.list_of(_json.text), False),
    "reason": ("reason", _json.text, False),
    "remaining": ("remaining", _json.amount, False),
    "requested": ("requested", _json.amount, True),
}
OnLimitBody._fields = {
    "fallback": ("fallback", FallbackBody.from_json, False),
    "message": ("message", _json.text, False),
    "upgradeUrl": ("upgrade_url", _json.text, False),
}
OpenReservationView._fields = {
    "createdAt": ("created_at", _json.text, True),
    "event": ("event", _json.text, True),
    "expiresAt": ("expires_at", _json.text, True),
    "held": ("held", _json.list_of(HeldView.from_json), True),
    "reservationId": ("reservation_id", _json.text, True),
}
OpenedView._fields = {
    "id": ("id", _json.text, True),
    "status": ("status", _json.text, True),
}
OutcomeView._fields = {
    "outcome": ("outcome", _json.text, True),
    "replayed": ("replayed", _json.flag, False),
    "reservationId": ("reservation_id", _json.text, True),
}
OverLimit._fields = {
    "groupId": ("group_id", _json.text, True),
    "planId": ("plan_id", _json.text, True),
    "quotaAfter": ("quota_after", _json.amount, True),
    "quotaBefore": ("quota_before", _json.amount, False),
    "users": ("users", _json.whole, True),
}
OverflowView._fields = {
    "amount": ("amount", _json.amount, True),
    "from": ("from_", _json.text, True),
    "groupId": ("group_id", _json.text, True),
}
OwnerLimit._fields = {
    "groupId": ("group_id", _json.text, True),
    "note": ("note", _json.text, False),
    "quota": ("quota", _json.amount, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
    "until": ("until", _json.text, False),
}
PartView._fields = {
    "name": ("name", _json.text, True),
    "ok": ("ok", _json.flag, True),
    "restarts": ("restarts", _json.whole, True),
    "since": ("since", _json.text, False),
}
PeriodView._fields = {
    "end": ("end", _json.text, False),
    "start": ("start", _json.text, True),
}
PlanBody._fields = {
    "end": ("end", _json.text, False),
    "every": ("every", _json.text, False),
    "groups": ("groups", _json.list_of(GroupBody.from_json), True),
    "id": ("id", _json.text, False),
    "name": ("name", _json.text, False),
    "periodAnchor": ("period_anchor", _json.text, False),
    "periodType": ("period_type", _json.text, False),
    "start": ("start", _json.text, False),
    "timezone": ("timezone", _json.text, False),
    "unmatchedEvents": ("unmatched_events", _json.text, False),
    "weekStart": ("week_start", _json.text, False),
}
PlanView._fields = {
    "end": ("end", _json.text, False),
    "every": ("every", _json.text, False),
    "groups": ("groups", _json.list_of(GroupBody.from_json), True),
    "id": ("id", _json.text, False),
    "name": ("name", _json.text, False),
    "periodAnchor": ("period_anchor", _json.text, False),
    "periodType": ("period_type", _json.text, False),
    "start": ("start", _json.text, False),
    "timezone": ("timezone", _json.text, False),
    "unmatchedEvents": ("unmatched_events", _json.text, False),
    "weekStart": ("week_start", _json.text, False),
    "version": ("version", _json.whole, True),
}
PolicyBody._fields = {
    "approval": ("approval", ApprovalBody.from_json, False),
    "end": ("end", _json.text, False),
    "environment": ("environment", _json.text, False),
    "every": ("every", _json.text, False),
    "groups": ("groups", _json.list_of(GroupBody.from_json), True),
    "id": ("id", _json.text, False),
    "name": ("name", _json.text, False),
    "notes": ("notes", _json.text, False),
    "owner": ("owner", _json.text, False),
    "periodAnchor": ("period_anchor", _json.text, False),
    "periodType": ("period_type", _json.text, False),
    "retry": ("retry", RetryBody.from_json, False),
    "reviewCadence": ("review_cadence", _json.text, False),
    "route": ("route", _json.text, False),
    "start": ("start", _json.text, False),
    "timezone": ("timezone", _json.text, False),
    "weekStart": ("week_start", _json.text, False),
}
PolicyVersionView._fields = {
    "createdAt": ("created_at", _json.text, True),
    "createdBy": ("created_by", _json.text, True),
    "policy": ("policy", PolicyBody.from_json, True),
    "version": ("version", _json.whole, True),
}
PolicyView._fields = {
    "approval": ("approval", ApprovalBody.from_json, False),
    "end": ("end", _json.text, False),
    "environment": ("environment", _json.text, False),
    "every": ("every", _json.text, False),
    "groups": ("groups", _json.list_of(GroupBody.from_json), True),
    "id": ("id", _json.text, False),
    "name": ("name", _json.text, False),
    "notes": ("notes", _json.text, False),
    "owner": ("owner", _json.text, False),
    "periodAnchor": ("period_anchor", _json.text, False),
    "periodType": ("period_type", _json.text, False),
    "retry": ("retry", RetryBody.from_json, False),
    "reviewCadence": ("review_cadence", _json.text, False),
    "route": ("route", _json.text, False),
    "start": ("start", _json.text, False),
    "timezone": ("timezone", _json.text, False),
    "weekStart": ("week_start", _json.text, False),
    "reviewDue": ("review_due", _json.flag, False),
    "reviewDueAt": ("review_due_at", _json.text, False),
    "reviewed": ("reviewed", Review.from_json, False),
    "version": ("version", _json.whole, True),
}
Preview._fields = {
    "changes": ("changes", _json.list_of(ChangeView.from_json), True),
    "complete": ("complete", _json.flag, True),
    "overLimit": ("over_limit", _json.list_of(OverLimit.from_json), True),
}
Problem._fields = {
    "code": ("code", _json.text, True),
    "decision": ("decision", DecisionView.from_json, False),
    "detail": ("detail", _json.text, True),
    "errors": ("errors", _json.list_of(FieldError.from_json), False),
    "preview": ("preview", Applied.from_json, False),
    "requestId": ("request_id", _json.text, True),
    "reservationStatus": ("reservation_status", _json.text, False),
    "status": ("status", _json.whole, True),
    "title": ("title", _json.text, True),
    "type": ("type", _json.text, True),
}
ProfileView._fields = {
    "name": ("name", _json.text, False),
    "tags": ("tags", _json.list_of(_json.text), False),
    "userId": ("user_id", _json.text, True),
}
RangeView._fields = {
    "fast": ("fast", RateView.from_json, True),
    "slow": ("slow", RateView.from_json, True),
}
RateView._fields = {
    "perDay": ("per_day", _json.amount, True),
    "projected": ("projected", _json.amount, False),
    "runsOutAt": ("runs_out_at", _json.text, False),
}
ReadyView._fields = {
    "parts": ("parts", _json.list_of(PartView.from_json), True),
    "ready": ("ready", _json.flag, True),
    "redisVersion": ("redis_version", _json.text, False),
    "warnings": ("warnings", _json.list_of(_json.text), True),
}
RecentWhatif._fields = {
    "calls": ("calls", _json.whole, True),
    "deniedOtherwise": ("denied_otherwise", _json.whole, True),
    "draft": ("draft", _json.text, True),
    "entries": ("entries", _json.whole, True),
    "groups": ("groups", _json.list_of(WhatifGroup.from_json), True),
    "mostAffected": ("most_affected", _json.list_of(WhatifUser.from_json), True),
    "newlyAllowed": ("newly_allowed", WhatifChanged.from_json, True),
    "newlyDenied": ("newly_denied", WhatifChanged.from_json, True),
    "observed": ("observed", WhatifChanged.from_json, True),
    "present": ("present", WhatifSide.from_json, False),
    "presentRules": ("present_rules", WhatifAgreement.from_json, False),
    "recorded": ("recorded", WhatifSide.from_json, True),
    "seconds": ("seconds", _json.amount, True),
    "since": ("since", _json.text, False),
    "source": ("source", _json.text, True),
    "underDraft": ("under_draft", WhatifSide.from_json, True),
    "unmeasured": ("unmeasured", _json.whole, True),
    "unreadOwners": ("unread_owners", _json.whole, True),
    "until": ("until", _json.text, False),
    "whole": ("whole", _json.flag, True),
    "cut": ("cut", _json.text, False),
    "mostEntries": ("most_entries", _json.whole, True),
}
ReportLineView._fields = {
    "accepted": ("accepted", _json.whole, False),
    "by": ("by", _json.map_of(_json.or_none(_json.text)), True),
    "calls": ("calls", _json.whole, True),
    "charged": ("charged", _json.list_of(ChargedView.from_json), True),
    "cost": ("cost", _json.amount, False),
    "costPerAccepted": ("cost_per_accepted", _json.amount, False),
    "degraded": ("degraded", _json.whole, False),
    "denials": ("denials", _json.whole, True),
    "denialsByReason": ("denials_by_reason", _json.map_of(_json.whole), False),
    "draws": ("draws", _json.whole, False),
    "end": ("end", _json.text, True),
    "expiries": ("expiries", _json.whole, False),
    "figures": ("figures", _json.map_of(_json.amount), False),
    "late": ("late", _json.whole, False),
    "observed": ("observed", _json.whole, True),
    "quantity": ("quantity", _json.amount, False),
    "ratios": ("ratios", _json.map_of(_json.or_none(_json.amount)), True),
    "refunds": ("refunds", _json.whole, False),
    "rejected": ("rejected", _json.whole, False),
    "released": ("released", _json.whole, False),
    "retries": ("retries", _json.whole, False),
    "retryShare": ("retry_share", _json.amount, False),
    "start": ("start", _json.text, True),
}
ReportView._fields = {
    "complete": ("complete", _json.flag, True),
    "data": ("data", _json.list_of(ReportLineView.from_json), True),
    "from": ("from_", _json.text, True),
    "nextCursor": ("next_cursor", _json.text, False),
    "period": ("period", _json.text, True),
    "to": ("to", _json.text, True),
}
ReservationEntryView._fields = {
    "at": ("at", _json.text, True),
    "charges": ("charges", _json.list_of(EntryChargeView.from_json), True),
    "errorCode": ("error_code", _json.text, False),
    "figures": ("figures", _json.list_of(FiguresView.from_json), False),
    "held": ("held", _json.list_of(EntryHeldView.from_json), False),
    "id": ("id", _json.text, True),
    "late": ("late", _json.flag, True),
    "outcome": ("outcome", _json.text, False),
    "reason": ("reason", _json.text, False),
    "type": ("type", _json.text, True),
}
ReservedView._fields = {
    "charged": ("charged", _json.amount, True),
    "creditId": ("credit_id", _json.text, False),
    "from": ("from_", _json.text, False),
    "groupId": ("group_id", _json.text, True),
    "held": ("held", _json.amount, True),
    "kind": ("kind", _json.text, False),
    "period": ("period", PeriodView.from_json, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
}
ResultView._fields = {
    "body": (
        "body",
        _json.one_of(
            DecisionView.from_json,
            CanUseView.from_json,
            SettlementView.from_json,
            TrackedView.from_json,
            Problem.from_json,
        ),
        True,
    ),
    "replayed": ("replayed", _json.flag, False),
    "status": ("status", _json.whole, True),
}
RetryBody._fields = {
    "backoff": ("backoff", BackoffBody.from_json, False),
    "maxAttempts": ("max_attempts", _json.whole, True),
    "nonRetryable": ("non_retryable", _json.list_of(_json.text), False),
}
RetryView._fields = {
    "attemptsLeft": ("attempts_left", _json.whole, False),
    "backoff": ("backoff", BackoffBody.from_json, False),
    "maxAttempts": ("max_attempts", _json.whole, True),
    "nonRetryable": ("non_retryable", _json.list_of(_json.text), True),
    "policyId": ("policy_id", _json.text, True),
}
Review._fields = {
    "at": ("at", _json.text, True),
    "by": ("by", _json.text, True),
    "note": ("note", _json.text, False),
}
RolloverBody._fields = {
    "max": ("max", _json.one_of(_json.amount, _json.text), True),
}
RuleBody._fields = {
    "event": ("event", _json.text, True),
    "measure": ("measure", _json.one_of(_json.text, WeightedBody.from_json), False),
    "metadata": ("metadata", _json.record, False),
}
SandboxView._fields = {
    "mode": ("mode", _json.text, True),
    "now": ("now", _json.text, False),
    "sandbox": ("sandbox", _json.text, True),
}
SessionView._fields = {
    "app": ("app", _json.text, False),
    "csrfToken": ("csrf_token", _json.text, True),
    "expiresAt": ("expires_at", _json.text, True),
    "keyId": ("key_id", _json.text, True),
    "name": ("name", _json.text, False),
    "role": ("role", _json.text, False),
}
Settings._fields = {
    "currency": ("currency", _json.text, False),
    "defaultPlanId": ("default_plan_id", _json.text, False),
    "maxScopeValues": ("max_scope_values", _json.whole, False),
    "onStoreFailure": ("on_store_failure", _json.text, False),
    "reportLabels": ("report_labels", _json.list_of(_json.text), False),
}
SettlementView._fields = {
    "counters": ("counters", _json.list_of(CounterView.from_json), True),
    "late": ("late", _json.flag, False),
    "overflow": ("overflow", _json.list_of(OverflowView.from_json), False),
    "replayed": ("replayed", _json.flag, False),
    "reservationId": ("reservation_id", _json.text, True),
    "status": ("status", _json.text, True),
    "thresholds": ("thresholds", _json.list_of(ThresholdView.from_json), False),
}
SubscriptionPreviewView._fields = {
    "counters": ("counters", _json.list_of(MovedCounterView.from_json), True),
    "endedGroupIds": ("ended_group_ids", _json.list_of(_json.text), True),
    "subscription": ("subscription", SubscriptionView.from_json, True),
}
SubscriptionView._fields = {
    "changed": ("changed", _json.flag, False),
    "customLimits": ("custom_limits", _json.record, False),
    "cycleStart": ("cycle_start", _json.text, False),
    "endsAt": ("ends_at", _json.text, False),
    "planId": ("plan_id", _json.text, True),
    "startedAt": ("started_at", _json.text, True),
    "userId": ("user_id", _json.text, True),
}
ThresholdView._fields = {
    "groupId": ("group_id", _json.text, True),
    "percent": ("percent", _json.whole, True),
}
TrackedView._fields = {
    "counters": ("counters", _json.list_of(CounterView.from_json), True),
    "eventId": ("event_id", _json.text, True),
    "matchStatus": ("match_status", _json.text, True),
    "matchedGroupIds": ("matched_group_ids", _json.list_of(_json.text), True),
    "observed": ("observed", _json.list_of(ObservedView.from_json), False),
    "overflow": ("overflow", _json.list_of(OverflowView.from_json), False),
    "thresholds": ("thresholds", _json.list_of(ThresholdView.from_json), False),
}
TriedRuleView._fields = {
    "event": ("event", _json.text, True),
    "matches": ("matches", _json.flag, True),
    "mismatches": ("mismatches", _json.list_of(MismatchView.from_json), True),
}
UnusualLineView._fields = {
    "by": ("by", _json.map_of(_json.or_none(_json.text)), True),
    "deviation": ("deviation", _json.amount, True),
    "mean": ("mean", _json.amount, True),
    "metric": ("metric", _json.text, True),
    "value": ("value", _json.amount, True),
}
UnusualView._fields = {
    "data": ("data", _json.list_of(UnusualLineView.from_json), True),
    "day": ("day", _json.text, True),
    "from": ("from_", _json.text, True),
}
UsageView._fields = {
    "counters": ("counters", _json.list_of(CounterView.from_json), True),
    "period": ("period", PeriodView.from_json, False),
    "planId": ("plan_id", _json.text, False),
    "userId": ("user_id", _json.text, True),
}
UserChanged._fields = {
    "blocked": ("blocked", _json.flag, True),
    "changed": ("changed", _json.flag, True),
    "userId": ("user_id", _json.text, True),
}
UserDetailView._fields = {
    "name": ("name", _json.text, False),
    "tags": ("tags", _json.list_of(_json.text), False),
    "blocked": ("blocked", _json.flag, True),
    "counters": ("counters", _json.list_of(CounterView.from_json), True),
    "grants": ("grants", _json.list_of(Grant.from_json), True),
    "history": ("history", _json.list_of(WindowView.from_json), True),
    "openReservations": ("open_reservations", _json.list_of(OpenReservationView.from_json), True),
    "period": ("period", PeriodView.from_json, False),
    "planId": ("plan_id", _json.text, False),
    "subscription": ("subscription", SubscriptionView.from_json, False),
    "userId": ("user_id", _json.text, True),
}
UserProfile._fields = {
    "name": ("name", _json.text, False),
    "tags": ("tags", _json.list_of(_json.text), False),
}
UserView._fields = {
    "name": ("name", _json.text, False),
    "tags": ("tags", _json.list_of(_json.text), False),
    "blocked": ("blocked", _json.flag, True),
    "subscription": ("subscription", SubscriptionView.from_json, False),
    "userId": ("user_id", _json.text, True),
}
UsersOn._fields = {
    "mode": ("mode", _json.text, True),
    "ownLimits": ("own_limits", _json.whole, True),
    "users": ("users", _json.whole, True),
}
VersionView._fields = {
    "createdAt": ("created_at", _json.text, True),
    "createdBy": ("created_by", _json.text, True),
    "plan": ("plan", PlanBody.from_json, True),
    "version": ("version", _json.whole, True),
}
WebhookBody._fields = {
    "events": ("events", _json.list_of(_json.text), True),
    "filter": ("filter", Filter.from_json, False),
    "id": ("id", _json.text, False),
    "modes": ("modes", _json.list_of(_json.text), False),
    "template": ("template", _json.text, False),
    "url": ("url", _json.text, True),
}
WebhookView._fields = {
    "events": ("events", _json.list_of(_json.text), True),
    "filter": ("filter", Filter.from_json, False),
    "id": ("id", _json.text, False),
    "modes": ("modes", _json.list_of(_json.text), False),
    "template": ("template", _json.text, False),
    "url": ("url", _json.text, True),
    "createdAt": ("created_at", _json.text, True),
    "deliveries": ("deliveries", DeliveryHealth.from_json, False),
    "secret": ("secret", _json.text, False),
    "version": ("version", _json.whole, True),
}
WeightedBody._fields = {
    "estimate": (
        "estimate",
        _json.map_of(_json.one_of(_json.amount, _json.text, LearnedEstimateBody.from_json)),
        False,
    ),
    "per": ("per", _json.map_of(_json.one_of(_json.amount, _json.text)), True),
}
WhatifAgreement._fields = {
    "agree": ("agree", _json.whole, True),
    "calls": ("calls", _json.whole, True),
    "deniedOtherwise": ("denied_otherwise", _json.whole, True),
}
WhatifChanged._fields = {
    "byGroup": ("by_group", _json.map_of(_json.whole), True),
    "byReason": ("by_reason", _json.map_of(_json.whole), True),
    "calls": ("calls", _json.whole, True),
    "examples": ("examples", _json.list_of(WhatifExample.from_json), True),
    "users": ("users", _json.whole, True),
}
WhatifDeniedBy._fields = {
    "count": ("count", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "limit": ("limit", _json.amount, True),
    "requested": ("requested", _json.amount, True),
}
WhatifExample._fields = {
    "at": ("at", _json.text, True),
    "event": ("event", _json.text, False),
    "groups": ("groups", _json.list_of(WhatifDeniedBy.from_json), True),
    "reason": ("reason", _json.text, True),
    "userId": ("user_id", _json.text, True),
}
WhatifGroup._fields = {
    "draft": ("draft", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "present": ("present", _json.amount, False),
    "recorded": ("recorded", _json.amount, True),
    "unit": ("unit", _json.text, True),
}
WhatifReport._fields = {
    "calls": ("calls", _json.whole, True),
    "deniedOtherwise": ("denied_otherwise", _json.whole, True),
    "draft": ("draft", _json.text, True),
    "entries": ("entries", _json.whole, True),
    "groups": ("groups", _json.list_of(WhatifGroup.from_json), True),
    "mostAffected": ("most_affected", _json.list_of(WhatifUser.from_json), True),
    "newlyAllowed": ("newly_allowed", WhatifChanged.from_json, True),
    "newlyDenied": ("newly_denied", WhatifChanged.from_json, True),
    "observed": ("observed", WhatifChanged.from_json, True),
    "present": ("present", WhatifSide.from_json, False),
    "presentRules": ("present_rules", WhatifAgreement.from_json, False),
    "recorded": ("recorded", WhatifSide.from_json, True),
    "seconds": ("seconds", _json.amount, True),
    "since": ("since", _json.text, False),
    "source": ("source", _json.text, True),
    "underDraft": ("under_draft", WhatifSide.from_json, True),
    "unmeasured": ("unmeasured", _json.whole, True),
    "unreadOwners": ("unread_owners", _json.whole, True),
    "until": ("until", _json.text, False),
    "whole": ("whole", _json.flag, True),
}
WhatifSide._fields = {
    "allowed": ("allowed", _json.whole, True),
    "cents": ("cents", _json.amount, False),
    "denied": ("denied", _json.whole, True),
}
WhatifUser._fields = {
    "centsDraft": ("cents_draft", _json.amount, True),
    "centsPresent": ("cents_present", _json.amount, True),
    "newlyAllowed": ("newly_allowed", _json.whole, True),
    "newlyDenied": ("newly_denied", _json.whole, True),
    "userId": ("user_id", _json.text, True),
}
WindowView._fields = {
    "final": ("final", _json.flag, True),
    "granted": ("granted", _json.amount, True),
    "groupId": ("group_id", _json.text, True),
    "label": ("label", _json.text, True),
    "overage": ("overage", _json.amount, True),
    "period": ("period", PeriodView.from_json, True),
    "quota": ("quota", _json.amount, False),
    "rolled": ("rolled", _json.amount, False),
    "scope": ("scope", _json.map_of(_json.text), True),
    "unit": ("unit", _json.text, True),
    "used": ("used", _json.amount, True),
    "window": ("window", _json.text, True),
}
