/** Middleware for Express, and for other frameworks with (request, response, next) of node:http. */
import type { Client } from "../client.js";
import { rateLimitHeaders } from "../rate-limit-headers.js";
import type { Reservation } from "../reservation/reservation.js";
import { isCharged, type QuotaRules, refusalFor, reservationFor } from "./rules.js";

export type { Of, QuotaRules } from "./rules.js";

/** The part of a response that this module uses. */
export interface ResponseLike {
  statusCode: number;
  writableFinished: boolean;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
  once(event: "close", listener: () => void): unknown;
}

const reservations = new WeakMap<object, Reservation>();

/**
 * The reservation of a request, to report its usage.
 *
 * @throws TypeError if no `quota` middleware runs before the handler
 *
 * @example
 * app.post("/chat", quota(client, rules), async (request, response) => {
 *   const answer = await complete(request.body);
 *   reservationOf(response).use(answer.tokens);
 *   response.json(answer);
 * });
 */
export function reservationOf(response: object): Reservation {
  const reservation = reservations.get(response);
  if (!reservation) throw new TypeError("no quota middleware ran for this response");
  return reservation;
}

/**
 * Reserves before your handler runs, and settles when its answer is sent: it commits the reported usage (without reports
 * the held amounts) after an answer below 400, and releases after any other. If the client leaves early, the
 * reservation's signal aborts, and the usage that was reported until then is charged. A denial is answered with 429, an
 * unreachable gateway with 503 (unless `onUnavailable` is `allow`); other errors go to `next`.
 *
 * @example
 * app.post("/images", quota(client, { userId: (request) => request.user.id, event: "image.render" }), render);
 */
export function quota<Req>(client: Client, rules: QuotaRules<Req>): (request: Req, response: ResponseLike, next: (error?: unknown) => void) => Promise<void> {
  return async (request, response, next) => {
    const controller = new AbortController();
    const left = () => controller.abort(new Error("the client closed the connection"));
    response.once("close", () => response.writableFinished || left());
    try {
      const started = await client.startReservation(await reservationFor(rules, request, controller.signal));
      const { reservation } = started;
      reservations.set(response, reservation);
      response.once("close", () => {
        const charged = response.writableFinished ? isCharged(rules, response.statusCode) : reservation.hasUsed;
        // The response is complete, so an error here can only be logged.
        (charged ? started.finish() : started.abandon()).catch((error: unknown) => console.error("quotagate: a request was not settled", error));
      });
      const headers = reservation.decision ? rateLimitHeaders(reservation.decision) : {};
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    } catch (error) {
      if (controller.signal.aborted) return;
      const refusal = refusalFor(error);
      if (!refusal) {
        next(error);
        return;
      }
      response.statusCode = refusal.status;
      for (const [name, value] of Object.entries(refusal.headers)) response.setHeader(name, value);
      response.end(JSON.stringify(refusal.body));
      return;
    }
    next();
  };
}
