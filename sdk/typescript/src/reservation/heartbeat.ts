/** Keeps a hold alive while work goes on. */
import { QuotagateError } from "../errors.js";
import { isUndelivered } from "../undelivered.js";

/** Beats so often within a hold's time that two may fail. */
const BEATS_PER_TTL = 3;

export class Heartbeat {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #unwanted = 0;
  readonly #everyMs: number;

  /**
   * @param beat extends the hold
   * @param wanted is the work still going on?
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
    // The work keeps its process alive, not its heartbeat.
    (timer as { unref?: () => void }).unref?.();
  }

  async #tick(): Promise<void> {
    try {
      this.#unwanted = this.wanted() ? 0 : this.#unwanted + 1;
      if (this.#unwanted === 0) await this.beat();
      // By now the hold has ended.
      if (this.#unwanted > BEATS_PER_TTL) this.stop();
    } catch (error) {
      // Away for a moment: the next beat may do. Anything else, such as expired, will not change.
      if (error instanceof QuotagateError && !isUndelivered(error)) this.stop();
    }
    this.#next();
  }
}
