/** The results of calls: the gateway's models, and the fields that this package adds. */
import type {
  CanUseView,
  CounterView,
  DecisionView,
  DeniedByView,
  OnLimitBody,
  PlanView,
  Reason,
  SettlementView,
  SubscriptionView,
  TrackedView,
  UsageView,
} from "./models.js";

/** Why a call was denied: the gateway's reasons, or `gateway_unavailable` if it could not be reached. */
export type DenialReason = Reason | "gateway_unavailable";

/** A quantity in the unit: a number, or decimal digits such as `"0.25"`. */
export type Quantity = number | string;

/** Metadata of an event: at most 32 keys with scalar values. */
export type Metadata = Record<string, string | number | boolean>;

/** The event that the application may use instead, as configured in a group's `onLimit`. */
export interface Fallback {
  event: string;
  metadata?: Metadata;
}

/** What a plan returns with a denial. */
export interface OnLimit extends Omit<OnLimitBody, "fallback"> {
  fallback?: Fallback | null;
}

/** A group that denied the call. */
export interface DeniedBy extends Omit<DeniedByView, "onLimit"> {
  /** As configured in the group. */
  onLimit?: OnLimit | null;
}

/** One of several events of a reserve. */
export interface Item {
  /** 1 to 128 bytes. */
  event: string;
  /** In the unit, greater than 0; default 1. */
  quantity?: Quantity;
  metadata?: Metadata;
  /** Hold as much of one figure as fits; in at most one item. */
  fit?: { field: string; min: Quantity };
}

/** The value of a figure that was fitted. */
export type Fitted<F extends string = string> = Record<F, number>;

/** The answer to `reserve` and `extend`. */
export interface Decision<F extends string = string> extends Omit<DecisionView, "reasons" | "deniedBy" | "fitted"> {
  reasons: DenialReason[];
  /** With `fit`: the value that was held, such as `{ completion_tokens: 1800 }`. Absent if denied, or without an answer. */
  fitted?: Fitted<F>;
  deniedBy: DeniedBy[];
  /** The gateway or its store could not be reached: `onUnavailable` or `onStoreFailure` decided. */
  degraded?: boolean;
}

/** The answer to `canUse`. */
export interface CanUse<F extends string = string> extends Omit<CanUseView, "reasons" | "fitted"> {
  reasons: DenialReason[];
  /** With `fit`: the value that would be held. */
  fitted?: Fitted<F>;
  /** The gateway could not be reached: `onUnavailable` decided. */
  degraded?: boolean;
}

/**
 * The status of a reservation: the gateway's `held` (after a draw), `committed` or `released`, or
 *
 * - `settled`: it was committed before, so there was nothing to release
 * - `expired`: it expired more than 15 minutes ago, so there was nothing to release
 * - `unmetered`: nothing was held
 * - `undelivered`: the gateway could not be reached; the client stores the call and retries it in the background
 */
export type SettlementStatus = "held" | "committed" | "released" | "settled" | "expired" | "unmetered" | "undelivered";

/** The answer to `commit` and `release`. */
export interface Settlement extends Omit<SettlementView, "status"> {
  status: SettlementStatus;
  /** The gateway could not be reached (status `undelivered`). */
  degraded?: boolean;
}

/** The answer to `track`. */
export interface Tracked extends Omit<TrackedView, "eventId"> {
  /** False if `enforce` denied the call, or if the client retries it later (`degraded`). */
  counted: boolean;
  /** Absent if the call was not counted, or not yet. */
  eventId?: string;
  /** With `enforce`: why the call was not counted. */
  decision?: Decision;
  /** The gateway could not be reached; with `keep` the client retries the call in the background. */
  degraded?: boolean;
}

/** A user's counters. */
export type Usage = UsageView;
/** One limit group, one scope value, one window. */
export type Counter = CounterView;
/** A plan with its version. */
export type Plan = PlanView;
/** Which plan a user is on. */
export type Subscription = SubscriptionView;
