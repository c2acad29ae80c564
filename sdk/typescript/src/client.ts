/** The client. */
import type { CallOptions, UsageOptions, WriteOptions } from "./call-options.js";
import { Admin } from "./admin/index.js";
import { Metering } from "./metering.js";
import type { CancelBody, SubscribeBody } from "./models.js";
import { type ClientOptions, settle } from "./options.js";
import type { Gate, ReservationRequest } from "./reservation/reservation.js";
import { type Work, runWithReservation } from "./reservation/run.js";
import { type StartedReservation, start } from "./reservation/start.js";
import { type StreamOptions, type StreamSource, type MeteredStream, runStream } from "./reservation/stream.js";
import type { Plan, Subscription, Usage } from "./results.js";
import type { Repeatable } from "./handed-over.js";
import { requestOf } from "./undelivered.js";
import { watch } from "./watch.js";

/** A client of one gateway with one key. Make one and share it; it holds no connection of its own. */
export class Client extends Metering {
  /** Configuration and the care of users; needs an `ak_` key (`testClock` also takes `sk_test_`). */
  readonly admin: Admin;

  /** Use {@link createClient}. */
  constructor(options: ClientOptions) {
    super(settle(options), options.onUndelivered);
    this.admin = new Admin(this.transport);
  }

  /**
   * Reserves, runs your function, and settles: commits what it reported by `use`, or all that was held if it reported
   * nothing; releases if it throws or is cancelled. While it runs longer than the hold's time, the hold is extended.
   *
   * @returns what your function returns
   * @throws LimitReached the denial; your function was not called
   * @throws GatewayUnavailable with `onUnavailable: "deny"`; with `"allow"` your function runs without a reservation,
   *   and what it used is tracked as soon as the gateway is back
   *
   * @example
   * const text = await client.withReservation(
   *   { userId: "u_42", event: "llm.tokens", quantity: 4000 },
   *   async (r) => {
   *     const answer = await complete(prompt, { signal: r.signal });
   *     r.use(answer.tokens);
   *     return answer.text;
   *   },
   * );
   */
  async withReservation<T>(request: ReservationRequest, work: Work<T>): Promise<T> {
    return runWithReservation(this.#gate(), request, work);
  }

  /**
   * The streaming variant: reserves at once, hands the chunks through, keeps a running count, and settles what was
   * really produced: at the end, when the consumer stops early, when the source fails, and on cancellation. Nothing
   * produced gives everything back.
   *
   * @param source makes the chunks; it gets the reservation, as in `withReservation`
   * @param options `count`: how much one chunk adds
   * @throws LimitReached the denial, before anything is produced
   * @throws GatewayUnavailable as in `withReservation`
   *
   * @example
   * const stream = await client.streamWithReservation(
   *   { userId: "u_42", event: "llm.tokens", quantity: 4000 },
   *   (r) => provider.stream(prompt, { signal: r.signal }),
   *   { count: (chunk) => chunk.tokens },
   * );
   * for await (const chunk of stream) response.write(chunk.text);
   */
  async streamWithReservation<T>(request: ReservationRequest, source: StreamSource<T>, options: StreamOptions<T> = {}): Promise<MeteredStream<T>> {
    return runStream(this.#gate(), request, source, options);
  }

  /**
   * The variant for code whose end comes as an event, as in servers: reserves and extends until you say `finish` or
   * `abandon`. The first of them counts.
   *
   * @throws LimitReached the denial
   * @throws GatewayUnavailable as in `withReservation`
   *
   * @example
   * const started = await client.startReservation({ userId: "u_42", event: "video.render" });
   * job.on("done", () => started.finish());
   * job.on("failed", (error) => started.abandon(error));
   */
  async startReservation(request: ReservationRequest): Promise<StartedReservation> {
    return start(this.#gate(), request);
  }

  #gate(): Gate {
    return {
      client: this,
      ask: this.ask.bind(this),
      refused: (body, idempotencyKey, error) => this.backlog.refused({ call: "commit", body }, idempotencyKey, error),
    };
  }

  /**
   * A user's counters, untouched groups at 0.
   *
   * @param event only the groups that can count such events: a name or a glob
   * @throws QuotagateError `invalid_request` (400), `invalid_key` (401), `forbidden_key` (403: a wrong user token)
   * @throws GatewayUnavailable no answer within the deadline
   *
   * @example
   * const [images] = (await client.usage("u_42", "image.*")).counters;
   */
  async usage(userId: string, event?: string, options: UsageOptions = {}): Promise<Usage> {
    const headers: Record<string, string> = options.userToken === undefined ? {} : { "x-user-token": options.userToken };
    return this.transport.send<Usage>({ method: "GET", path: "usage", query: { userId, event }, headers, signal: options.signal, expect: "counters" });
  }

  /**
   * A user's counters now and after every change, until you stop. Lost connections are made anew.
   *
   * @throws QuotagateError `invalid_key` (401), `forbidden_key` (403): what trying again does not mend
   *
   * @example
   * for await (const usage of client.watchUsage("u_42", { signal })) badge.show(usage.counters[0]);
   */
  watchUsage(userId: string, options: UsageOptions & { event?: string } = {}): AsyncIterableIterator<Usage> {
    return watch(this.transport, userId, options);
  }

  /**
   * Puts a user on a plan, or changes what is said of the subscription. The same values again change nothing; absent
   * fields stay, null clears.
   *
   * @param subscription times are RFC 3339; `startedAt` not in the future; `customLimits` by group id
   * @throws QuotagateError `invalid_request` (400), also for a plan that does not exist
   *
   * @example
   * await client.upsertSubscription({ userId: "u_42", planId: "pro", cycleStart: "2026-01-31T00:00:00Z" });
   */
  async upsertSubscription(subscription: SubscribeBody, options: WriteOptions = {}): Promise<Subscription> {
    return this.transport.send({ method: "POST", path: "subscriptions", body: subscription, write: true, ...options, expect: "planId" });
  }

  /**
   * Ends a user's subscription, now or at `endsAt` (RFC 3339).
   *
   * @throws QuotagateError `already_canceled` (409), `not_found` (404)
   *
   * @example
   * await client.cancelSubscription("u_42", { endsAt: "2026-12-31T00:00:00Z" });
   */
  async cancelSubscription(userId: string, options: Omit<CancelBody, "userId"> & WriteOptions = {}): Promise<Subscription> {
    const { endsAt, note, ...rest } = options;
    return this.transport.send({ method: "DELETE", path: "subscriptions", body: { userId, endsAt, note }, write: true, ...rest, expect: "planId" });
  }

  /**
   * The plans that the app has, with their limit groups; also for `pk_` keys.
   *
   * @example
   * for (const plan of await client.availablePlans()) console.log(plan.id, plan.groups.length);
   */
  async availablePlans(options: CallOptions = {}): Promise<Plan[]> {
    const page = await this.transport.send<{ data: Plan[] }>({ method: "GET", path: "plans", signal: options.signal, expect: "data" });
    return page.data;
  }

  /** How many commits and other calls wait in the background for the gateway to be reached. */
  get undeliveredCount(): number {
    return this.backlog.size;
  }

  /**
   * Tries all that waits in the background, now and again, for so long; how many calls are left then.
   *
   * @param timeoutMs default 5,000
   *
   * @example
   * if ((await client.flush()) > 0) console.warn("some commits wait for the gateway");
   */
  async flush(timeoutMs = 5_000): Promise<number> {
    return this.backlog.flush(timeoutMs);
  }

  /**
   * Repeats what was handed to `onUndelivered`, with its own idempotency key: it counts once.
   *
   * @param undelivered its `call`, `body` and `idempotencyKey`, also read from where you stored them
   * @throws GatewayUnavailable it is still undelivered
   * @throws QuotagateError the gateway refuses it, such as `reservation_expired` (410)
   *
   * @example
   * const client = createClient({ apiKey, onUndelivered: ({ call, body, idempotencyKey }) => store({ call, body, idempotencyKey }) });
   * for (const one of await stored()) await client.redeliver(one);
   */
  async redeliver(undelivered: Repeatable): Promise<void> {
    await this.transport.send(requestOf(undelivered, undelivered.idempotencyKey));
  }

  /**
   * To be called before the process ends: flushes, and hands what is left to `onUndelivered`.
   *
   * @param timeoutMs default 5,000
   *
   * @example
   * process.once("SIGTERM", () => client.close().then(() => process.exit(0)));
   */
  async close(timeoutMs = 5_000): Promise<void> {
    await this.backlog.flush(timeoutMs);
    await this.backlog.giveUp();
  }
}

/**
 * Makes a client.
 *
 * @throws QuotagateError `invalid_options` at what cannot work
 *
 * @example
 * const client = createClient({ apiKey: process.env.QUOTAGATE_KEY!, onUnavailable: "deny" });
 * const r = await client.reserve("u_42", "image.render");
 */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}
