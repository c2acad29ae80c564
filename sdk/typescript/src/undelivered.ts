/** Calls that could not be delivered: kept in order and tried again until their time is over. */
import { type BatchResult, type Operation, parts, sendBatch } from "./batch.js";
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

/** Other batches are under way: this one waits for the next round. */
const TOO_MANY = 429;

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
    const before = this.size;
    this.#away = false;
    for (let lines = [...this.#lines.keys()]; lines.length > 0; ) {
      // Never two of one line: if the first is not taken in, the second would overtake it.
      const firsts = lines.flatMap((line) => this.#lines.get(line)?.slice(0, 1) ?? []);
      lines = [];
      for (const part of parts(firsts, operationOf)) {
        const done = await this.#attempt(part);
        // While the gateway is away, a thousand waiting calls are not a thousand attempts.
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

  /** Sends calls of different lines. The lines that go on; undefined if the gateway could not be reached. */
  async #attempt(entries: Entry[]): Promise<string[] | undefined> {
    if (entries.length === 1) return this.#oneByOne(entries);
    let results: BatchResult[];
    try {
      results = await sendBatch(this.#transport, entries.map(operationOf), { retries: 0 });
    } catch (error) {
      const failure = error as QuotagateError;
      // A gateway that does not know batches, or does not take this one, says of each call alone what becomes of it.
      if (failure.status !== TOO_MANY && !isUndelivered(failure)) return this.#oneByOne(entries);
      for (const entry of entries) this.#failed(entry, failure);
      return failure instanceof GatewayUnavailable ? undefined : [];
    }
    const goOn: string[] = [];
    for (const [place, entry] of entries.entries()) {
      const result = results[place]!;
      if (await this.#settled(entry, result.ok ? undefined : result.error)) goOn.push(entry.line);
    }
    // It answers, but what it keeps its data in does not.
    const nothing = results.every((result) => !result.ok && result.error instanceof GatewayUnavailable);
    return nothing ? undefined : goOn;
  }

  /** The same with a request for each. */
  async #oneByOne(entries: Entry[]): Promise<string[] | undefined> {
    const goOn: string[] = [];
    const away: Entry[] = [];
    const queue = entries.values();
    const worker = async () => {
      for (const entry of queue) {
        const failure = await this.#transport.send({ ...requestOf(entry.work, entry.idempotencyKey), retries: 0 }).then(
          () => undefined,
          (error: unknown) => error as QuotagateError,
        );
        if (await this.#settled(entry, failure)) goOn.push(entry.line);
        if (failure instanceof GatewayUnavailable) away.push(entry);
        if (away.length > 0) return;
      }
    };
    await Promise.all(Array.from({ length: Math.min(8, entries.length) }, worker));
    return away.length > 0 ? undefined : goOn;
  }

  /** What became of a call: false if it waits on. */
  async #settled(entry: Entry, failure: QuotagateError | undefined): Promise<boolean> {
    const waits: boolean = isUndelivered(failure);
    if (failure && waits) {
      this.#failed(entry, failure);
      return false;
    }
    entry.attempts += 1;
    this.#remove(entry);
    if (failure) await this.#surrender(entry, failure);
    return true;
  }

  #failed(entry: Entry, failure: QuotagateError): void {
    entry.attempts += 1;
    entry.failure = failure;
    if (failure instanceof GatewayUnavailable) this.#away = true;
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

/** The same as one operation of a batch. */
function operationOf({ work, idempotencyKey }: Entry): Operation {
  return { op: work.call, ...work.body, idempotencyKey } as Operation;
}

/** The request that does the work, under the same idempotency key each time. */
export function requestOf({ call, body }: Kept["work"], idempotencyKey: string): Call {
  const expect = call === "track" ? "eventId" : "reservationId";
  return { method: "POST", path: call, body, write: true, idempotencyKey, expect };
}
