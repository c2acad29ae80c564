/** What is handed over of a call that could not be delivered in its time. */
import type { QuotagateError } from "./errors.js";
import type { CommitBody, TrackBody } from "./models.js";

/** What a call was meant to write. */
export type UndeliveredWork =
  | { call: "commit"; body: CommitBody }
  | { call: "track"; body: TrackBody };

/** A commit or track that was given up, with all that is needed to repeat it. */
export type Undelivered = UndeliveredWork & {
  /** Repeat it with this key, and it counts once. */
  idempotencyKey: string;
  /** How often it was tried in the background. */
  attempts: number;
  /** When it was first tried. */
  since: Date;
  /** Why it was given up. */
  error: QuotagateError;
};

/** What repeats an undelivered call; it can be stored as JSON. */
export type Repeatable = UndeliveredWork & Pick<Undelivered, "idempotencyKey">;
