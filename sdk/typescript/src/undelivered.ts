/** Calls that could not be delivered: kept in order and tried again until their time is over. */
import { GatewayUnavailable, QuotagateError } from "./errors.js";
import { backoffMs } from "./http/backoff.js";
import type { Call, Transport } from "./http/transport.js";
import type { ReleaseBody } from "./models.js";
import type { Undelivered, UndeliveredWork } from "./handed-over.js";

/** A call to keep. */
export interface Kept {
  work: UndeliveredWork | { call: "release"; body: ReleaseBody };
  idempotencyKey: string;
  /** How long to go on trying, in milliseconds. */
  keepMs: number;
}

interface Entry extends Kept {
  /** Calls of one line go out one after the other. */
  line: string;
  since: number;
  ends: number;
  attempts: number;
  failure: QuotagateError;
}

/** A round of attempts begins this long after the last one, at most. */
const LONGEST_WAIT_MS = 30_000;

/** More than so many calls are not kept, but handed over at once. */
const MOST = 100_000;

/** Did the gateway not take the call in, whatever the reason? Then it may yet. */
export function isUndelivered(error: unknown): error is QuotagateError {
  return error instanceof GatewayUnavailable || (error instanceof QuotagateError && error.status >= 500);
}

const now = (): number => performance.now();

/** The calls of one client that wait for the gateway. */
export class Backlog {
  readonly #transport: Transport;
  readonly #handOver: (undelivered: Undelivered) => void | Promise<void>;
  readonly #lines = new Map<string, Entry[]>();
  #size = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #round: Promise<void> | undefined;
  #fruitless = 0;
  /** Could the gateway not be reached when it was last tried? */
  #away = false;

  constructor(transport: Transport, handOver: (undelivered: Undelivered) => void | Promise<void>) {
    this.#transport = transport;
    this.#handOver = handOver;
  }

  /** How many calls wait. */
  get size(): number {
    return this.#size;
  }

  /** Does a call of this line wait? Then a later one must not overtake it. */
  holds(line: string): boolean {
    return this.#lines.has(line);
  }

  /** Keeps a call that failed. The timer keeps the process alive: what was spent is not forgotten at its end. */
  keep(line: string, kept: Kept, failure: QuotagateError): void {
    const since = now();
    const entry = { ...kept, line, since, ends: since + kept.keepMs, attempts: 0, failure };
    // A long outage must not fill the memory, nor drop anything unsaid.
    if (this.#size >= MOST) {
      void this.#surrender(entry, failure);
      return;
    }
    const behind = this.#lines.get(line);
    if (behind) behind.push(entry);
    else this.#lines.set(line, [entry]);
    this.#size += 1;
    if (failure instanceof GatewayUnavailable) this.#away = true;
    this.#schedule();
  }

  /** Hands over what the gateway refused to count. */
  async refused(work: UndeliveredWork, idempotencyKey: string, error: QuotagateError): Promise<void> {
    await this.#tell({ ...work, idempotencyKey, attempts: 0, since: new Date(), error });
  }

  /** The gateway has just answered something. */
  wake(): void {
    if (this.#away && this.#size > 0 && !this.#round) void this.#run();
  }

  /** Tries everything until nothing is left or the time is over; how many are left. */
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

  /** Hands over all that is left, as it is. */
  async giveUp(): Promise<void> {
    await this.#round;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const left = [...this.#lines.values()].flat();
    this.#lines.clear();
    this.#size = 0;
    for (const entry of left) await this.#surrender(entry, entry.failure);
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

  /** One attempt for the first call of each line, and for those behind it as long as it goes well. */
  async #deliver(): Promise<void> {
    const lines = [...this.#lines.keys()];
    const before = this.size;
    this.#away = false;
    // One probe first: while the gateway is away, a thousand waiting calls are not a thousand attempts.
    const [first, ...others] = lines;
    const reached = first === undefined || (await this.#deliverLine(first));
    if (reached) {
      const queue = others.values();
      const worker = async () => {
        for (const line of queue) if (!(await this.#deliverLine(line))) return;
      };
      await Promise.all(Array.from({ length: Math.min(8, others.length) }, worker));
    }
    this.#fruitless = this.size < before ? 0 : this.#fruitless + 1;
    await this.#expire();
  }

  /** False if the gateway could not be reached. */
  async #deliverLine(line: string): Promise<boolean> {
    for (;;) {
      const entry = this.#lines.get(line)?.[0];
      if (!entry) return true;
      try {
        entry.attempts += 1;
        await this.#transport.send({ ...requestOf(entry.work, entry.idempotencyKey), retries: 0 });
      } catch (error) {
        if (isUndelivered(error)) {
          entry.failure = error;
          if (error instanceof GatewayUnavailable) this.#away = true;
          // Status 500 is an answer; other lines may fare better.
          return !(error instanceof GatewayUnavailable);
        }
        this.#remove(entry);
        await this.#surrender(entry, error as QuotagateError);
        continue;
      }
      this.#remove(entry);
    }
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
    const over = [...this.#lines.values()].flat().filter((entry) => entry.ends <= now());
    for (const entry of over) {
      this.#remove(entry);
      await this.#surrender(entry, entry.failure);
    }
  }

  /** A release that did not arrive needs nobody: the hold ends by itself. */
  async #surrender(entry: Entry, error: QuotagateError): Promise<void> {
    const { work, idempotencyKey, attempts, since } = entry;
    if (work.call === "release") return;
    const started = new Date(Date.now() - (now() - since));
    await this.#tell({ ...work, idempotencyKey, attempts, since: started, error });
  }

  async #tell(undelivered: Undelivered): Promise<void> {
    try {
      await this.#handOver(undelivered);
    } catch (fault) {
      console.error(`quotagate: onUndelivered failed for a ${undelivered.call}`, undelivered.body, fault);
    }
  }
}

/** The request that does the work, under the same idempotency key each time. */
export function requestOf({ call, body }: Kept["work"], idempotencyKey: string): Call {
  const expect = call === "track" ? "eventId" : "reservationId";
  return { method: "POST", path: call, body, write: true, idempotencyKey, expect };
}
