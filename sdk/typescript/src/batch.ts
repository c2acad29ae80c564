/** Batches: the operations that are sent, and the result of each. */
import { Denied, GatewayUnavailable, type QuotagateError } from "./errors.js";
import type { Transport } from "./http/transport.js";
import type {
  CanUseOperation,
  CommitOperation,
  ExtendOperation,
  MatchStatus,
  ReleaseOperation,
  ReserveOperation,
  TrackOperation,
} from "./models.js";
import type { CanUse, Decision, Quantity, Settlement, Tracked } from "./results.js";

/** The most operations and bytes that the gateway accepts in one batch. */
export const MOST_OPERATIONS = 100;
const MOST_BYTES = 256 * 1024;
/** The size of a body without its operations, rounded up. */
const FRAME_BYTES = 64;

/** The type of the model is number, but the gateway accepts decimal text, too. */
type WithText<T> = T extends { quantity?: unknown } ? Omit<T, "quantity"> & { quantity?: Quantity } : T;

/** One operation of a batch: `op`, and the body of that call. */
export type Operation = WithText<
  ReserveOperation | CommitOperation | ReleaseOperation | ExtendOperation | TrackOperation | CanUseOperation
>;

/** The answer to a successful operation. */
export type AnswerOf<Op extends Operation["op"]> = Op extends "reserve" | "extend"
  ? Decision
  : Op extends "can-use"
    ? CanUse
    : Op extends "track"
      ? Tracked
      : Settlement;

/** The result of one operation: its answer or its error. */
export type BatchResult<Op extends Operation["op"] = Operation["op"]> =
  | { ok: true; status: number; body: AnswerOf<Op>; replayed: boolean }
  | { ok: false; status: number; error: QuotagateError; replayed: boolean };

/** The results of operations, in their order. */
export type BatchResults<T extends readonly Operation[]> = { -readonly [Place in keyof T]: BatchResult<T[Place]["op"]> };

/** A field of each successful answer. An answer without it is not from the gateway. */
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
  /** For the operations without their own key. */
  idempotencyKey?: string | undefined;
  /** True if an earlier call of the same reservation is waiting. Then the operation is not sent. */
  waits?: (operation: Operation) => boolean;
}

/** The reservation that an operation settles, or undefined. */
export function settles(operation: Operation): string | undefined {
  return operation.op === "commit" || operation.op === "release" ? operation.reservationId : undefined;
}

/**
 * Sends operations in one request.
 *
 * @throws QuotagateError the gateway refused the batch as a whole
 * @throws GatewayUnavailable no usable answer; it is not known which operations took effect
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
  const error = new GatewayUnavailable("An earlier call of this reservation is not delivered yet");
  return { ok: false, status: error.status, error, replayed: false };
}

function notTheGateway(): GatewayUnavailable {
  return new GatewayUnavailable("Not an answer of the gateway: the results are malformed");
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

/** A denied track is an answer, as it is outside of a batch. */
export function withDenials(result: BatchResult): BatchResult {
  if (result.ok || !(result.error instanceof Denied)) return result;
  return { ok: true, status: result.status, body: notCounted(result.error), replayed: result.replayed };
}

/** The answer to a track with `enforce` that was denied. */
export function notCounted({ code, decision }: Denied): Tracked {
  const { matchedGroupIds, counters } = decision;
  return { counted: false, matchStatus: MATCH_STATUS[code] ?? "over_limit", matchedGroupIds, counters, decision };
}

const MATCH_STATUS: Record<string, MatchStatus> = { no_subscription: "no_subscription", unmatched_event: "unmatched" };

/** Divides operations into parts that fit into a batch. */
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
