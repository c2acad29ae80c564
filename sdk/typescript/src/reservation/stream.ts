/** A reservation around a stream, which charges what was produced. */
import { abortReason, unlessAborted } from "../http/abort.js";
import { type Gate, type Reservation, type ReservationRequest, open } from "./reservation.js";
import type { Figures } from "./reported-usage.js";

type Chunks<T> = AsyncIterable<T> | ReadableStream<T>;

/** Creates the chunks. */
export type StreamSource<T> = (reservation: Reservation) => Chunks<T> | PromiseLike<Chunks<T>>;

/** Options of `streamWithReservation`. */
export interface StreamOptions<T> {
  /**
   * The usage of a chunk, or undefined for none. Without `count`, report with `reservation.use` or `total`; without any
   * report the held amounts are charged after the first chunk.
   */
  count?: (chunk: T) => number | Figures | undefined;
}

/** The metered chunks. To stop early, leave the loop or call `return()`. */
export interface MeteredStream<T> extends AsyncIterableIterator<T> {
  /** Reports exact figures, which often arrive with the last chunk. */
  readonly reservation: Reservation;
  /** Resolves when the reservation is settled. */
  readonly settled: Promise<void>;
  /** The chunks as a web stream; cancelling it stops early. */
  toReadableStream(): ReadableStream<T>;
}

/** Web streams are not async iterable everywhere. */
export function iteratorOf<T>(chunks: Chunks<T>): AsyncIterator<T> {
  if (Symbol.asyncIterator in chunks) return chunks[Symbol.asyncIterator]();
  const reader = (chunks as ReadableStream<T>).getReader();
  return {
    async next() {
      const { done, value } = await reader.read();
      return done ? { done: true, value: undefined } : { done: false, value: value };
    },
    async return() {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}

class Metered<T> implements MeteredStream<T> {
  readonly settled: Promise<void>;
  #markSettled: (outcome: Promise<void>) => void = () => {};
  #source: Promise<AsyncIterator<T>> | undefined;
  #chunks = 0;
  #waiting = 0;
  #calls = 0;
  #callsAtBeat = 0;
  #finished: Promise<void> | undefined;
  readonly #heartbeat;
  readonly #onAbort = () => void this.#finish("early").catch(() => {});

  constructor(
    readonly reservation: Reservation,
    private readonly open: StreamSource<T>,
    private readonly options: StreamOptions<T>,
  ) {
    this.settled = new Promise((resolve) => (this.#markSettled = resolve));
    // An application that does not use `settled` must not get an unhandled rejection.
    this.settled.catch(() => {});
    this.#heartbeat = reservation.heartbeat(() => this.#inUse());
    reservation.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T>> {
    if (this.#finished) {
      await this.#finished;
      if (this.reservation.signal.aborted) throw abortReason(this.reservation.signal);
      return { done: true, value: undefined };
    }
    this.#calls += 1;
    this.#waiting += 1;
    let result: IteratorResult<T>;
    try {
      result = await unlessAborted(this.#pull(), this.reservation.signal);
      if (!result.done) this.#count(result.value);
    } catch (error) {
      await this.#finish("early");
      throw error;
    } finally {
      this.#waiting -= 1;
    }
    if (result.done) {
      await this.#finish("end");
      return { done: true, value: undefined };
    }
    return result;
  }

  async return(): Promise<IteratorResult<T>> {
    await this.#finish("early");
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<T>> {
    await this.#finish("early");
    throw error;
  }

  toReadableStream(): ReadableStream<T> {
    return new ReadableStream<T>({
      pull: async (controller) => {
        const result = await this.next();
        if (result.done) controller.close();
        else controller.enqueue(result.value);
      },
      cancel: async () => {
        await this.return();
      },
    });
  }

  async #pull(): Promise<IteratorResult<T>> {
    if (!this.#source) {
      this.#heartbeat?.start();
      this.#source = Promise.resolve(this.open(this.reservation)).then(iteratorOf);
    }
    return (await this.#source).next();
  }

  #count(chunk: T): void {
    // A chunk that arrives after the end is not counted.
    if (this.#finished) return;
    this.#chunks += 1;
    const used = this.options.count?.(chunk);
    if (used !== undefined) this.reservation.use(used);
  }

  /** False if nobody has read since the last beat: an abandoned stream must not extend its hold for a day. */
  #inUse(): boolean {
    const used = this.#waiting > 0 || this.#calls > this.#callsAtBeat;
    this.#callsAtBeat = this.#calls;
    return used;
  }

  #finish(how: "end" | "early"): Promise<void> {
    if (!this.#finished) {
      this.#finished = this.#settle(how);
      this.#markSettled(this.#finished);
    }
    return this.#finished;
  }

  async #settle(how: "end" | "early"): Promise<void> {
    this.#heartbeat?.stop();
    this.reservation.signal.removeEventListener("abort", this.#onAbort);
    if (how === "early") void this.#closeSource();
    const produced = this.#chunks > 0 || this.reservation.hasUsed;
    if (how === "end" || produced) await this.reservation.settle();
    else await this.reservation.release("nothing produced");
  }

  /** Closes the source in the background: it may be slow or fail, and what it produced is already known. */
  async #closeSource(): Promise<void> {
    try {
      await (await this.#source)?.return?.();
    } catch {
      // The source is not used any more.
    }
  }
}

/** Reserves, and wraps the source. */
export async function runStream<T>(gate: Gate, request: ReservationRequest, source: StreamSource<T>, options: StreamOptions<T>): Promise<MeteredStream<T>> {
  return new Metered(await open(gate, request), source, options);
}
