/** Reservations, by hand. */
import type { WriteOptions } from "../call-options.js";
import type { ReleaseByHandBody, SettlementView } from "../models.js";
import { Resource } from "./resource.js";

/** Open reservations of users: `users.get` lists them. */
export class Reservations extends Resource {
  /**
   * Gives back all that a reservation still holds, as its own client would; its commit is refused from then on.
   *
   * @param options `reason`, at most 256 bytes, is kept in the ledger and in the audit log
   * @throws QuotagateError `reservation_not_pending` (409), `reservation_expired` (410), `not_found` (404)
   *
   * @example
   * await client.admin.reservations.release("rsv_…", { reason: "worker 7 is gone" });
   */
  release(id: string, options: WriteOptions & ReleaseByHandBody = {}): Promise<SettlementView> {
    return this.write("POST", [id, "release"], { reason: options.reason }, options);
  }
}
