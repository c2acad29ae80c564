/** Middleware for handlers from Request to Response: edge runtimes, Deno, Bun, Next.js, Hono and the like. */
import type { Client } from "../client.js";
import { rateLimitHeaders } from "../rate-limit-headers.js";
import type { Reservation } from "../reservation/reservation.js";
import type { StartedReservation } from "../reservation/start.js";
import { isCharged, type QuotaRules, refusalFor, reservationFor } from "./rules.js";

export type { Of, QuotaRules } from "./rules.js";

/** A handler whose second argument is the reservation. */
export type MeteredHandler<Rest extends unknown[]> = (request: Request, reservation: Reservation, ...rest: Rest) => Response | PromiseLike<Response>;

/**
 * Reserves before your handler runs, and settles when the body of its answer has been read: it commits the usage that
 * the handler reported with `reservation.use` (without reports the held amounts) after an answer below 400, and releases
 * after any other, and after an error. If the reader leaves early, the usage that was reported until then is charged. A
 * denial is answered with 429 and rate-limit headers, an unreachable gateway with 503 (unless `onUnavailable` is
 * `allow`), both as problem documents.
 *
 * @example
 * export default {
 *   fetch: withQuota(client, { userId: (request) => userOf(request), event: "image.render" },
 *     async (request, reservation) => Response.json(await render(request, reservation.signal))),
 * };
 */
export function withQuota<Rest extends unknown[]>(client: Client, rules: QuotaRules<Request>, handler: MeteredHandler<Rest>): (request: Request, ...rest: Rest) => Promise<Response> {
  return async (request, ...rest) => {
    let started: StartedReservation;
    try {
      started = await client.startReservation(await reservationFor(rules, request, request.signal));
    } catch (error) {
      const refusal = refusalFor(error);
      if (!refusal) throw error;
      return new Response(JSON.stringify(refusal.body), { status: refusal.status, headers: refusal.headers });
    }
    let response: Response;
    try {
      response = await handler(request, started.reservation, ...rest);
    } catch (error) {
      await started.abandon(error);
      throw error;
    }
    return settled(started, response, isCharged(rules, response.status));
  };
}

async function settled(started: StartedReservation, response: Response, charged: boolean): Promise<Response> {
  const headers = new Headers(response.headers);
  const { decision } = started.reservation;
  for (const [name, value] of Object.entries(decision ? rateLimitHeaders(decision) : {})) {
    if (!headers.has(name)) headers.set(name, value);
  }
  const init = { status: response.status, statusText: response.statusText, headers };
  if (!charged || !response.body) {
    await (charged ? started.finish() : started.abandon());
    return new Response(response.body, init);
  }
  return new Response(watched(started, response.body), init);
}

/** Passes the body through and settles at its end. */
function watched(started: StartedReservation, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const leave = () => (started.reservation.hasUsed ? started.finish() : started.abandon());
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) {
          controller.enqueue(value);
          return;
        }
        await started.finish();
        controller.close();
      } catch (error) {
        await leave();
        throw error;
      }
    },
    async cancel(reason) {
      await Promise.allSettled([reader.cancel(reason), leave()]);
    },
  });
}
