/** Options of single calls. */
import type { IfExpired, Outcome } from "./models.js";
import type { Item, Metadata, Quantity } from "./results.js";

/** Options of every call that can be cancelled. */
export interface CallOptions {
  /** Cancels the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Options of writes. */
export interface WriteOptions extends CallOptions {
  /** 1 to 255 characters. Default: a new key for each call, which all its attempts carry. */
  idempotencyKey?: string;
}

/** The figure of a reserve that may be reduced to what fits. */
export interface Fit<F extends string = string> {
  /** `quantity`, or a metadata field by which a limit measures the event. */
  field: F;
  /** The smallest value that you accept: a whole number of at least 1. */
  min: Quantity;
}

/** Options of `canUse`. */
export interface CanUseOptions<F extends string = string> extends CallOptions {
  /** As of `reserve`. */
  fit?: Fit<F>;
}

/** Options of `reserve`. An aborted reserve releases its hold. */
export interface ReserveOptions<F extends string = string> extends WriteOptions {
  /** Seconds until an unsettled hold expires: 1 to 3,600; default 60. */
  ttlSeconds?: number;
  /**
   * Hold as much of one figure as fits. The value that you send (or the limit's estimate) is the most; `fitted` of the
   * decision has the value that was held. Not for `reserveItems`, where an item has `fit`.
   */
  fit?: Fit<F>;
}

/** The actual figures of one item. */
export interface ItemFigures {
  quantity?: Quantity;
  metadata?: Metadata;
}

/** Options of `commit`: the actual figures. */
export interface CommitOptions {
  /** The actual quantity; 0 is allowed. */
  quantity?: Quantity;
  /** Actual figures and other metadata, merged over that of the reserve. */
  metadata?: Metadata;
  /** For `reserveItems`: the figures of each item, in order, instead of quantity and metadata. */
  items?: ItemFigures[];
  /** False: charge these figures and keep the rest of the hold. Default true. */
  final?: boolean;
  /** After the expiry: `charge` (default) for 15 minutes, or `reject` with `reservation_expired`. */
  ifExpired?: IfExpired;
  /** Whether the end user accepted the result. */
  outcome?: Outcome;
  idempotencyKey?: string;
  /** How long the client retries the commit in the background, in milliseconds; default: 15 minutes after the expiry. */
  keepMs?: number;
}

/** Options of `release`. */
export interface ReleaseOptions {
  /** At most 256 bytes. */
  reason?: string;
  /** The provider's error code, in at most 256 bytes. */
  errorCode?: string;
  idempotencyKey?: string;
}

/** The body of a reserve. */
export interface ReserveRequest {
  userId: string;
  event?: string;
  quantity?: Quantity | undefined;
  metadata?: Metadata | undefined;
  items?: Item[];
  fit?: Fit | undefined;
}

/** Options of `extend`: `ttlSeconds`, `quantity`, or both. */
export interface ExtendOptions extends WriteOptions {
  /** Seconds from now: 1 to 3,600. */
  ttlSeconds?: number;
  /** The additional amount, checked like a reserve. */
  quantity?: Quantity;
}

/** Options of `track`. */
export interface TrackOptions extends WriteOptions {
  /** Count only if every limit has room. Default false. */
  enforce?: boolean;
  /** If the gateway cannot be reached, retry the call in the background. Default false. */
  keep?: boolean;
}

/** Options of `watchUsage`. */
export interface WatchOptions extends CallOptions {
  /** The user's token, for a `pk_` key that requires one. Default: that of the client. */
  userToken?: string;
}

/** Options of `usage`. */
export interface UsageOptions extends WatchOptions {
  /** The id of a key: also the counters with `key` in their scope. */
  key?: string;
  /** Also the counters with these names in their scope, such as those of the user's team. */
  metadata?: Record<string, string>;
}
