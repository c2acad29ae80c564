/** Extends a hold while the work runs. */
import { QuotagateError } from "../errors.js";
import { isUndelivered } from "../undelivered.js";

/** The beats within a hold's time to live, so that two of them may fail. */
const BEATS_PER_TTL = 3;

export class Heartbeat {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #unwanted = 0;
  readonly #everyMs: number;

  /**
   * @param beat extends the hold
   * @param wanted true while the work runs
   */
  constructor(
    private readonly beat: () => Promise<unknown>,
    ttlSeconds: number,
    private readonly wanted: () => boolean = () => true,
  ) {
    this.#everyMs = (ttlSeconds * 1000) / BEATS_PER_TTL;
  }

  start(): void {
    this.#running = true;
    this.#next();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  #next(): void {
    if (!this.#running) return;
    const timer: unknown = setTimeout(() => void this.#tick(), this.#everyMs);
    this.#timer = timer as ReturnType<typeof setTimeout>;
    // The heartbeat must not keep the process alive.
    (timer as { unref?: () => void }).unref?.();
  }

  async #tick(): Promise<void> {
    try {
      this.#unwanted = this.wanted() ? 0 : this.#unwanted + 1;
      if (this.#unwanted === 0) await this.beat();
      // By now the hold has expired.
      if (this.#unwanted > BEATS_PER_TTL) this.stop();
    } catch (error) {
      // If the gateway cannot be reached, the next beat tries again. After other errors a retry cannot help.
      if (error instanceof QuotagateError && !isUndelivered(error)) this.stop();
    }
    this.#next();
  }
}
