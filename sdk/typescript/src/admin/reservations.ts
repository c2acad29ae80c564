/** Open reservations. */
import type { WriteOptions } from "../call-options.js";
import type { ReleaseByHandBody, SettlementView } from "../models.js";
import { Resource } from "./resource.js";

/** Open reservations, which `users.get` lists. */
export class Reservations extends Resource {
  /**
   * Releases a reservation that another client made; it can no longer be committed.
   *
   * @param options `reason` (at most 256 bytes), for the ledger and the audit log
   * @throws QuotagateError `reservation_not_pending` (409), `reservation_expired` (410), `not_found` (404)
   *
   * @example
   * await client.admin.reservations.release("rsv_…", { reason: "worker 7 is gone" });
   */
  release(id: string, options: WriteOptions & ReleaseByHandBody = {}): Promise<SettlementView> {
    return this.write("POST", [id, "release"], { reason: options.reason }, options);
  }
}
