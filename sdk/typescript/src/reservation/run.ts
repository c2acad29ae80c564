/** Reserves, runs a function, and settles. */
import { unlessAborted } from "../http/abort.js";
import type { Gate, Reservation, ReservationRequest } from "./reservation.js";
import { start } from "./start.js";

/** Your function, which can report its usage. */
export type Work<T> = (reservation: Reservation) => T | PromiseLike<T>;

/** Runs `work` with a reservation. */
export async function runWithReservation<T>(gate: Gate, request: ReservationRequest, work: Work<T>): Promise<T> {
  const started = await start(gate, request);
  let result: T;
  try {
    // A cancelled caller must not wait for a function that ignores its signal.
    result = await unlessAborted(Promise.resolve().then(() => work(started.reservation)), request.signal);
  } catch (error) {
    await started.abandon(error);
    throw error;
  }
  await started.finish();
  return result;
}
