/** Calls that could not be delivered. They are stored in order and retried until they are too old. */
import { type BatchResult, type Operation, parts, sendBatch } from "./batch.js";
import { GatewayUnavailable, QuotagateError } from "./errors.js";
import { backoffMs } from "./http/backoff.js";
import type { Call, Transport } from "./http/transport.js";
import type { ReleaseBody } from "./models.js";
import type { Undelivered, UndeliveredWork } from "./handed-over.js";

/** A call to store. */
export interface Kept {
  work: UndeliveredWork | { call: "release"; body: ReleaseBody };
  idempotencyKey: string;
  /** How long to retry, in milliseconds. */
  keepMs: number;
}

interface Entry extends Kept {
  /** Calls of one line are sent in order, one after the other. */
  line: string;
  since: number;
  ends: number;
  attempts: number;
  failure: QuotagateError;
}

/** The longest pause between two rounds. */
const LONGEST_WAIT_MS = 30_000;

/** The most calls that are stored. Further ones go to `onUndelivered` at once. */
const MOST = 100_000;

/** The status while the gateway runs too many batches: the calls wait for the next round. */
const TOO_MANY = 429;

/** True if the call did not arrive, so that a retry can help. */
export function isUndelivered(error: unknown): error is QuotagateError {
  return error instanceof GatewayUnavailable || (error instanceof QuotagateError && error.status >= 500);
}

const now = (): number => performance.now();

/** The calls of one client that wait for the gateway. */
export class Backlog {
  readonly #transport: Transport;
  readonly #onUndelivered: (undelivered: Undelivered) => void | Promise<void>;
  readonly #lines = new Map<string, Entry[]>();
  #size = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #round: Promise<void> | undefined;
  #fruitless = 0;
  /** True if the last attempt could not reach the gateway. */
  #unreachable = false;

  constructor(transport: Transport, onUndelivered: (undelivered: Undelivered) => void | Promise<void>) {
    this.#transport = transport;
    this.#onUndelivered = onUndelivered;
  }

  /** The number of waiting calls. */
  get size(): number {
    return this.#size;
  }

  /** True if a call of this line is waiting; a later call must not overtake it. */
  holds(line: string): boolean {
    return this.#lines.has(line);
  }

  /** Stores a call that failed. Its timer keeps the process alive, so that the usage is not lost. */
  keep(line: string, kept: Kept, failure: QuotagateError): void {
    const since = now();
    const entry = { ...kept, line, since, ends: since + kept.keepMs, attempts: 0, failure };
    // A long outage must not fill the memory.
    if (this.#size >= MOST) {
      void this.#giveUp(entry, failure);
      return;
    }
    const waiting = this.#lines.get(line);
    if (waiting) waiting.push(entry);
    else this.#lines.set(line, [entry]);
    this.#size += 1;
    if (failure instanceof GatewayUnavailable) this.#unreachable = true;
    this.#schedule();
  }

  /** Reports a commit that the gateway refused. */
  async refused(work: UndeliveredWork, idempotencyKey: string, error: QuotagateError): Promise<void> {
    await this.#report({ ...work, idempotencyKey, attempts: 0, since: new Date(), error });
  }

  /** Retries now, because the gateway has just answered another call. */
  wake(): void {
    if (this.#unreachable && this.#size > 0 && !this.#round) void this.#run();
  }

  /** Retries until no call waits or the time is over. Returns how many still wait. */
  async flush(timeoutMs: number): Promise<number> {
    const ends = now() + timeoutMs;
    for (let attempt = 0; this.size > 0 && now() < ends; attempt += 1) {
      await (this.#round ?? this.#run());
      if (this.size === 0) break;
      const wait = Math.min(backoffMs(attempt) + 10, Math.max(0, ends - now()));
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
    return this.size;
  }

  /** Reports all waiting calls without trying again. */
  async giveUp(): Promise<void> {
    await this.#round;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const left = [...this.#lines.values()].flat();
    this.#lines.clear();
    this.#size = 0;
    for (const entry of left) await this.#giveUp(entry, entry.failure);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#round || this.#size === 0) return;
    const wait = 100 + backoffMs(this.#fruitless + 3, Math.random, LONGEST_WAIT_MS);
    let nextEnd = Infinity;
    for (const entries of this.#lines.values()) for (const { ends } of entries) nextEnd = Math.min(nextEnd, ends - now());
    this.#timer = setTimeout(() => void this.#run(), Math.max(0, Math.min(wait, nextEnd)));
  }

  #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#round = this.#deliver().finally(() => {
      this.#round = undefined;
      this.#schedule();
    });
    return this.#round;
  }

  /** Tries the first call of each line, and the following ones while it succeeds. */
  async #deliver(): Promise<void> {
    const before = this.size;
    this.#unreachable = false;
    for (let lines = [...this.#lines.keys()]; lines.length > 0; ) {
      // Never two of one line: if the first fails, the second would overtake it.
      const firsts = lines.flatMap((line) => this.#lines.get(line)?.slice(0, 1) ?? []);
      lines = [];
      for (const part of parts(firsts, operationOf)) {
        const done = await this.#attempt(part);
        // While the gateway is unreachable, a thousand waiting calls must not cause a thousand attempts.
        if (!done) {
          lines = [];
          break;
        }
        lines.push(...done);
      }
    }
    this.#fruitless = this.size < before ? 0 : this.#fruitless + 1;
    await this.#expire();
  }

  /** Sends calls of different lines. Returns the lines that succeeded; undefined if the gateway is unreachable. */
  async #attempt(entries: Entry[]): Promise<string[] | undefined> {
    if (entries.length === 1) return this.#oneByOne(entries);
    let results: BatchResult[];
    try {
      results = await sendBatch(this.#transport, entries.map(operationOf), { retries: 0 });
    } catch (error) {
      const failure = error as QuotagateError;
      // The gateway has no batches, or rejects this one: it may still accept each call alone.
      if (failure.status !== TOO_MANY && !isUndelivered(failure)) return this.#oneByOne(entries);
      for (const entry of entries) this.#failed(entry, failure);
      return failure instanceof GatewayUnavailable ? undefined : [];
    }
    const delivered: string[] = [];
    for (const [place, entry] of entries.entries()) {
      const result = results[place]!;
      if (await this.#settled(entry, result.ok ? undefined : result.error)) delivered.push(entry.line);
    }
    // The gateway answers, but its store does not.
    const storeUnavailable = results.every((result) => !result.ok && result.error instanceof GatewayUnavailable);
    return storeUnavailable ? undefined : delivered;
  }

  /** Like `#attempt`, with one request for each call. */
  async #oneByOne(entries: Entry[]): Promise<string[] | undefined> {
    const delivered: string[] = [];
    let unreachable = false as boolean;
    const queue = entries.values();
    const worker = async () => {
      for (const entry of queue) {
        const failure = await this.#transport.send({ ...requestOf(entry.work, entry.idempotencyKey), retries: 0 }).then(
          () => undefined,
          (error: unknown) => error as QuotagateError,
        );
        if (await this.#settled(entry, failure)) delivered.push(entry.line);
        unreachable ||= failure instanceof GatewayUnavailable;
        if (unreachable) return;
      }
    };
    await Promise.all(Array.from({ length: Math.min(8, entries.length) }, worker));
    return unreachable ? undefined : delivered;
  }

  /** Handles the result of a call. Returns false if it keeps waiting. */
  async #settled(entry: Entry, failure: QuotagateError | undefined): Promise<boolean> {
    const waits: boolean = isUndelivered(failure);
    if (failure && waits) {
      this.#failed(entry, failure);
      return false;
    }
    entry.attempts += 1;
    this.#remove(entry);
    if (failure) await this.#giveUp(entry, failure);
    return true;
  }

  #failed(entry: Entry, failure: QuotagateError): void {
    entry.attempts += 1;
    entry.failure = failure;
    if (failure instanceof GatewayUnavailable) this.#unreachable = true;
  }

  #remove(entry: Entry): void {
    const line = this.#lines.get(entry.line);
    const at = line?.indexOf(entry) ?? -1;
    if (!line || at < 0) return;
    line.splice(at, 1);
    this.#size -= 1;
    if (line.length === 0) this.#lines.delete(entry.line);
  }

  async #expire(): Promise<void> {
    const expired = [...this.#lines.values()].flat().filter((entry) => entry.ends <= now());
    for (const entry of expired) {
      this.#remove(entry);
      await this.#giveUp(entry, entry.failure);
    }
  }

  /** Reports a lost call. A lost release is not reported, since its hold expires. */
  async #giveUp(entry: Entry, error: QuotagateError): Promise<void> {
    const { work, idempotencyKey, attempts, since } = entry;
    if (work.call === "release") return;
    const started = new Date(Date.now() - (now() - since));
    await this.#report({ ...work, idempotencyKey, attempts, since: started, error });
  }

  async #report(undelivered: Undelivered): Promise<void> {
    try {
      await this.#onUndelivered(undelivered);
    } catch (fault) {
      console.error(`quotagate: onUndelivered failed for a ${undelivered.call}`, undelivered.body, fault);
    }
  }
}

/** A stored call as an operation of a batch. */
function operationOf({ work, idempotencyKey }: Entry): Operation {
  return { op: work.call, ...work.body, idempotencyKey } as Operation;
}

/** The request of a stored call, with its idempotency key. */
export function requestOf({ call, body }: Kept["work"], idempotencyKey: string): Call {
  const expect = call === "track" ? "eventId" : "reservationId";
  return { method: "POST", path: call, body, write: true, idempotencyKey, expect };
}
