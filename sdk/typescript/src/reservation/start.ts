/** A reservation whose end comes as an event. */
import { type Gate, type Reservation, type ReservationRequest, open } from "./reservation.js";

/** A reservation that is being worked under; its hold is extended until one of its ends is called. */
export interface StartedReservation {
  readonly reservation: Reservation;
  /** It went well: charges what was reported, or all that was held. The first end counts. */
  finish(): Promise<void>;
  /** It failed: releases, or charges what was reported with `onError: "commit"`. The first end counts. */
  abandon(error?: unknown): Promise<void>;
}

/** Reserves, and keeps the hold alive. */
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
