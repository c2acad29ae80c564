/** A reservation for work that ends with an event. */
import { type Gate, type Reservation, type ReservationRequest, open } from "./reservation.js";

/** An open reservation. The client extends its hold until you call `finish` or `abandon`; the first call counts. */
export interface StartedReservation {
  readonly reservation: Reservation;
  /** The work succeeded: charges the reported usage, or the held amounts without a report. */
  finish(): Promise<void>;
  /** The work failed: releases, or with `onError: "commit"` charges the reported usage. */
  abandon(error?: unknown): Promise<void>;
}

/** Reserves, and starts to extend the hold. */
export async function start(gate: Gate, request: ReservationRequest): Promise<StartedReservation> {
  const reservation = await open(gate, request);
  const heartbeat = reservation.heartbeat();
  heartbeat?.start();
  let end: Promise<void> | undefined;
  const once = (settle: () => Promise<void>) => {
    heartbeat?.stop();
    return (end ??= settle());
  };
  return {
    reservation,
    finish: () => once(() => reservation.settle()),
    abandon: (error) => once(() => reservation.abandon(error)),
  };
}
