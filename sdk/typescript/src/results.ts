/** What calls answer: the gateway's models, and what this package adds to them. */
import type {
  CanUseView,
  CounterView,
  DecisionView,
  PlanView,
  Reason,
  SettlementView,
  SubscriptionView,
  TrackedView,
  UsageView,
} from "./models.js";

/** Why a call was denied: the gateway's reasons, or `gateway_unavailable` if it could not be asked. */
export type DenialReason = Reason | "gateway_unavailable";

/** A quantity in the unit: a number, or decimal digits such as `"0.25"`. */
export type Quantity = number | string;

/** Facts about an event: at most 32 keys with scalar values. */
export type Metadata = Record<string, string | number | boolean>;

/** One of several events of a reserve. */
export interface Item {
  /** 1 to 128 bytes. */
  event: string;
  /** In the unit, greater than 0; default 1. */
  quantity?: Quantity;
  metadata?: Metadata;
}

/** The answer to `reserve` and `extend`. */
export interface Decision extends Omit<DecisionView, "reasons"> {
  reasons: DenialReason[];
  /** The gateway, or its store, could not be asked: `onUnavailable` or `onStoreFailure` decided. */
  degraded?: boolean;
}

/** The answer to `canUse`. */
export interface CanUse extends Omit<CanUseView, "reasons"> {
  reasons: DenialReason[];
  /** The gateway could not be asked: `onUnavailable` decided. */
  degraded?: boolean;
}

/**
 * What became of a reservation: `held` (after a draw), `committed` or `released` as the gateway says, or
 *
 * - `settled`: it was committed before, so that there was nothing to release
 * - `expired`: its time and grace were over, so that there was nothing to release
 * - `unmetered`: nothing was held
 * - `undelivered`: the gateway could not be reached; the call is kept and tried again in the background
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
  /** Was it counted? Only `enforce` can make this false. */
  counted: boolean;
  /** Absent if it was not counted, or not yet. */
  eventId?: string;
  /** With `enforce`: why it was not counted. */
  decision?: Decision;
  /** The gateway could not be reached; the call is kept and tried again in the background (option `keep`). */
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
