/** Reserve, work, settle. */
import { unlessAborted } from "../http/abort.js";
import type { Gate, Reservation, ReservationRequest } from "./reservation.js";
import { start } from "./start.js";

/** Your function: it spends, and reports what it used. */
export type Work<T> = (reservation: Reservation) => T | PromiseLike<T>;

/** Runs `work` under a reservation. */
export async function runWithReservation<T>(gate: Gate, request: ReservationRequest, work: Work<T>): Promise<T> {
  const started = await start(gate, request);
  let result: T;
  try {
    // A function that does not heed its signal must not keep a cancelled caller waiting.
    result = await unlessAborted(Promise.resolve().then(() => work(started.reservation)), request.signal);
  } catch (error) {
    await started.abandon(error);
    throw error;
  }
  await started.finish();
  return result;
}
