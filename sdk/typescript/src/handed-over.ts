/** Calls that could not be delivered, as `onUndelivered` receives them. */
import type { QuotagateError } from "./errors.js";
import type { CommitBody, TrackBody } from "./models.js";

/** The kind and body of a call. */
export type UndeliveredWork =
  | { call: "commit"; body: CommitBody }
  | { call: "track"; body: TrackBody };

/** A commit or track that the client gave up, with everything needed to repeat it. */
export type Undelivered = UndeliveredWork & {
  /** Repeat the call with this key, and it counts once. */
  idempotencyKey: string;
  /** The number of attempts in the background. */
  attempts: number;
  /** The time of the first attempt. */
  since: Date;
  /** The last error. */
  error: QuotagateError;
};

/** The part of an undelivered call that repeats it; it can be stored as JSON. */
export type Repeatable = UndeliveredWork & Pick<Undelivered, "idempotencyKey">;

/** What a client without `onUndelivered` does. */
export function logUndelivered(undelivered: Undelivered): void {
  const { call, body, idempotencyKey, error } = undelivered;
  console.error(`quotagate: a ${call} was not delivered: ${error.message}`, { body, idempotencyKey });
}
