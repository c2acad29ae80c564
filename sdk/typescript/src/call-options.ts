/** Options of single calls. */
import type { IfExpired, Outcome } from "./models.js";
import type { Metadata, Quantity } from "./results.js";

/** Options of every call that may be cancelled. */
export interface CallOptions {
  /** Ends the wait; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Options of writes. */
export interface WriteOptions extends CallOptions {
  /** 1 to 255 characters; left out, a new one is made for each call and kept over its attempts. */
  idempotencyKey?: string;
}

/** Options of `reserve`. An aborted reserve gives back what it came to hold. */
export interface ReserveOptions extends WriteOptions {
  /** Seconds until an unsettled hold ends by itself: 1 to 3,600; default 60. */
  ttlSeconds?: number;
}

/** Actual figures of one item. */
export interface ItemFigures {
  quantity?: Quantity;
  metadata?: Metadata;
}

/** Options of `commit`: the actual figures. */
export interface CommitOptions {
  /** The actual quantity; 0 is allowed. */
  quantity?: Quantity;
  /** Actual figures and facts, merged over those of the reserve. */
  metadata?: Metadata;
  /** Of a reservation by `reserveItems`: the figures of each item, in their order, instead of quantity and metadata. */
  items?: ItemFigures[];
  /** False: charge that much and keep the rest of the hold. Default true. */
  final?: boolean;
  /** After the expiry: `charge` (default) within 15 minutes, or `reject` with `reservation_expired`. */
  ifExpired?: IfExpired;
  /** Was the result worth something to the end user? */
  outcome?: Outcome;
  idempotencyKey?: string;
  /** How long an undeliverable commit is tried in the background, in milliseconds; default: expiry and 15 minutes. */
  keepMs?: number;
}

/** Options of `release`. */
export interface ReleaseOptions {
  /** Why, in at most 256 bytes. */
  reason?: string;
  /** The provider's error code, in at most 256 bytes. */
  errorCode?: string;
  idempotencyKey?: string;
}

/** Options of `extend`: `ttlSeconds`, `quantity`, or both. */
export interface ExtendOptions extends WriteOptions {
  /** Seconds from now: 1 to 3,600. */
  ttlSeconds?: number;
  /** So much more; checked like a reserve. */
  quantity?: Quantity;
}

/** Options of `track`. */
export interface TrackOptions extends WriteOptions {
  /** Count only if there is room. Default false. */
  enforce?: boolean;
  /** When the gateway cannot be reached, keep the call and try on in the background. Default false. */
  keep?: boolean;
}

/** Options of `usage` and `watchUsage`. */
export interface UsageOptions extends CallOptions {
  /** With a `pk_` key that requires it: the HMAC of the user id, from your back end; else the client's. */
  userToken?: string;
}
