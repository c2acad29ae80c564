/** Many operations in one request: what is sent, and what comes back for each. */
import { GatewayUnavailable, LimitReached, QuotagateError } from "./errors.js";
import type { Transport } from "./http/transport.js";
import type {
  CanUseOperation,
  CommitOperation,
  ExtendOperation,
  ReleaseOperation,
  ReserveOperation,
  TrackOperation,
} from "./models.js";
import type { CanUse, Decision, Quantity, Settlement, Tracked } from "./results.js";

/** The gateway takes so many operations in a batch, and so large a body. */
export const MOST_OPERATIONS = 100;
const MOST_BYTES = 256 * 1024;
/** What stands around the operations in a body. */
const FRAME_BYTES = 64;

/** The gateway's model says number; it takes decimal text too. */
type WithText<T> = T extends { quantity?: unknown } ? Omit<T, "quantity"> & { quantity?: Quantity } : T;

/** One operation of a batch: `op`, and the body of that call. */
export type Operation = WithText<
  ReserveOperation | CommitOperation | ReleaseOperation | ExtendOperation | TrackOperation | CanUseOperation
>;

/** What an operation is answered when it succeeds. */
export type AnswerOf<Op extends Operation["op"]> = Op extends "reserve" | "extend"
  ? Decision
  : Op extends "can-use"
    ? CanUse
    : Op extends "track"
      ? Tracked
      : Settlement;

/** The result of one operation: its answer, or why there is none. */
export type BatchResult<Op extends Operation["op"] = Operation["op"]> =
  | { ok: true; status: number; body: AnswerOf<Op>; replayed: boolean }
  | { ok: false; status: number; error: QuotagateError; replayed: boolean };

/** The results of operations, in their order. */
export type BatchResults<T extends readonly Operation[]> = { -readonly [Place in keyof T]: BatchResult<T[Place]["op"]> };

/** A field that each good answer has: what lacks it was not made by the gateway. */
const EXPECTED: Record<Operation["op"], string> = {
  reserve: "allowed",
  extend: "allowed",
  "can-use": "allowed",
  commit: "reservationId",
  release: "reservationId",
  track: "eventId",
};

/** How operations are sent. */
interface Sending {
  signal?: AbortSignal | undefined;
  retries?: number;
  /** Of the whole batch: for operations without one of their own. */
  idempotencyKey?: string | undefined;
  /** Does an earlier call of the same reservation wait to be delivered? Then this operation is not sent. */
  waits?: (operation: Operation) => boolean;
}

/** The reservation that an operation settles, if it does. */
export function settles(operation: Operation): string | undefined {
  return operation.op === "commit" || operation.op === "release" ? operation.reservationId : undefined;
}

/**
 * Sends operations in one request.
 *
 * @throws QuotagateError the gateway refused the batch as a whole
 * @throws GatewayUnavailable no usable answer; what took effect is not known
 */
export async function sendBatch(transport: Transport, operations: readonly Operation[], { waits, ...more }: Sending = {}): Promise<BatchResult[]> {
  const held = new Set(operations.filter((operation) => waits?.(operation)));
  const sent = operations.filter((operation) => !held.has(operation));
  if (held.size > 0 && sent.length === 0) return operations.map(notYet);
  const { results } = await transport.send<{ results: unknown }>({ method: "POST", path: "batch", body: { operations: sent }, write: true, expect: "results", ...more });
  if (!Array.isArray(results) || results.length !== sent.length) throw notTheGateway();
  const answers = results.values();
  return operations.map((operation) => (held.has(operation) ? notYet() : readResult(transport, operation.op, answers.next().value)));
}

function notYet(): BatchResult {
  const error = new GatewayUnavailable("An earlier call of this reservation is not delivered yet.");
  return { ok: false, status: error.status, error, replayed: false };
}

function notTheGateway(): GatewayUnavailable {
  return new GatewayUnavailable("What answered is not the gateway: the results are not as expected.");
}

function readResult(transport: Transport, op: Operation["op"], result: unknown): BatchResult {
  const { status, body, replayed } = (result ?? {}) as { status?: unknown; body?: unknown; replayed?: unknown };
  if (typeof status !== "number" || typeof body !== "object" || body === null) throw notTheGateway();
  const again = replayed === true;
  if (status < 300) {
    if (!(EXPECTED[op] in body)) throw notTheGateway();
    const answer = op === "track" ? { ...body, counted: true } : body;
    return { ok: true, status, body: answer as AnswerOf<Operation["op"]>, replayed: again };
  }
  return { ok: false, status, error: transport.problem(status, body as Record<string, unknown>), replayed: again };
}

/** A denied track is an answer, as of `track` alone. */
export function withDenials(result: BatchResult): BatchResult {
  if (result.ok || !(result.error instanceof LimitReached)) return result;
  return { ok: true, status: result.status, body: notCounted(result.error), replayed: result.replayed };
}

/** The answer to a track with `enforce` that was denied. */
export function notCounted({ decision }: LimitReached): Tracked {
  const { matchedGroupIds, counters } = decision;
  return { counted: false, matchStatus: "over_limit", matchedGroupIds, counters, decision };
}

/** Divides operations so that each part fits into a batch. */
export function parts<T>(all: readonly T[], operationOf: (one: T) => unknown): T[][] {
  const encoder = new TextEncoder();
  const found: T[][] = [];
  let bytes = Infinity;
  for (const one of all) {
    const more = encoder.encode(JSON.stringify(operationOf(one))).length + 1;
    bytes += more;
    const last = found.at(-1);
    if (last && bytes <= MOST_BYTES && last.length < MOST_OPERATIONS) {
      last.push(one);
    } else {
      bytes = FRAME_BYTES + more;
      found.push([one]);
    }
  }
  return found;
}
