/** The clock of a sandbox. */
import type { CallOptions, WriteOptions } from "../call-options.js";
import type { ClockView } from "../models.js";
import { Resource } from "./resource.js";

export class TestClock extends Resource {
  /**
   * The sandbox's clock; `now` is null in real time.
   *
   * @example
   * const { now } = await client.admin.testClock.get();
   */
  get(options: CallOptions = {}): Promise<ClockView> {
    return this.read([], {}, options);
  }

  /**
   * Freezes the sandbox's time, or moves it forward.
   *
   * @param now RFC 3339, or a Date; only an empty sandbox can move back
   * @throws QuotagateError `invalid_request` (400), `forbidden_key` (403) outside test mode
   *
   * @example
   * await client.admin.testClock.set("2027-01-31T10:00:00Z");
   */
  set(now: string | Date, options: WriteOptions = {}): Promise<ClockView> {
    return this.write("PUT", [], { now: typeof now === "string" ? now : now.toISOString() }, options);
  }

  /**
   * Deletes the sandbox's data and returns it to real time. Configuration and keys stay.
   *
   * @example
   * await client.admin.testClock.reset();
   */
  reset(options: CallOptions = {}): Promise<void> {
    return this.remove([], options);
  }
}
