/** The client. */
import type { CallOptions, UsageOptions, WatchOptions, WriteOptions } from "./call-options.js";
import { Admin } from "./admin/index.js";
import { metadataQuery } from "./admin/resource.js";
import { Credits } from "./credits.js";
import { Estimates } from "./estimates.js";
import { Limits } from "./limits.js";
import { Metering } from "./metering.js";
import type { CancelBody, SubscribeBody } from "./models.js";
import { type ClientOptions, settingsOf } from "./options.js";
import type { Gate, ReservationRequest } from "./reservation/reservation.js";
import { type Work, runWithReservation } from "./reservation/run.js";
import { type StartedReservation, start } from "./reservation/start.js";
import { type StreamOptions, type StreamSource, type MeteredStream, runStream } from "./reservation/stream.js";
import type { Plan, Subscription, Usage } from "./results.js";
import type { Repeatable } from "./handed-over.js";
import { requestOf } from "./undelivered.js";
import { watch } from "./watch.js";

/** A client of one gateway with one key. Create one and share it. */
export class Client extends Metering {
  /** Calls for operators; needs an `ak_` key (`testClock` also accepts `sk_test_`). */
  readonly admin: Admin;
  /** Prepaid amounts of a user or other owner. */
  readonly credits: Credits;
  /** Another quota for one user, team, key, or other owner. */
  readonly limits: Limits;
  /** What the gateway has learned about figures that calls do not have yet. */
  readonly estimates: Estimates;

  /** Use {@link createClient}. */
  constructor(options: ClientOptions) {
    super(settingsOf(options), options.onUndelivered);
    this.admin = new Admin(this.transport);
    this.credits = new Credits(this.transport, "credits");
    this.limits = new Limits(this.transport, "limits");
    this.estimates = new Estimates(this.transport, "estimates");
  }

  /**
   * Reserves, runs your function, and commits the usage that it reports with `use` (without reports the held amounts).
   * Releases if the function throws or is cancelled. While the function runs, the client extends the hold.
   *
   * @returns the result of your function
   * @throws Denied, or the subclass for the reason such as LimitReached; your function was not called
   * @throws GatewayUnavailable with `onUnavailable: "deny"`; with `"allow"` your function runs without a reservation,
   *   and the client tracks its usage when the gateway can be reached again
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
   * The same for streams: reserves, yields the chunks, counts them, and commits what was produced: at the end, when the
   * consumer stops early, when the source fails, and on cancellation. If nothing was produced, it releases everything.
   *
   * @param source creates the chunks; its argument is the reservation, as in `withReservation`
   * @param options `count`: the usage of one chunk
   * @throws Denied before anything is produced
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
   * The same for work that ends with an event, as in servers: reserves, and extends the hold until you call `finish` or
   * `abandon`. The first of these calls counts.
   *
   * @throws Denied
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
      requestDecision: this.requestDecision.bind(this),
      refused: (body, idempotencyKey, error) => this.backlog.refused({ call: "commit", body }, idempotencyKey, error),
    };
  }

  /**
   * A user's counters, with unused groups at 0.
   *
   * @param event only groups that match this event: a name or a glob
   * @param options `metadata`, `key`: also the counters of these owners, such as `{ metadata: { team: "red" } }`
   * @throws QuotagateError `invalid_request` (400), `invalid_key` (401), `forbidden_key` (403: a wrong user token)
   * @throws GatewayUnavailable no answer within the deadline
   *
   * @example
   * const [images] = (await client.usage("u_42", "image.*")).counters;
   */
  async usage(userId: string, event?: string, options: UsageOptions = {}): Promise<Usage> {
    const headers: Record<string, string> = options.userToken === undefined ? {} : { "x-user-token": options.userToken };
    const query = { userId, event, key: options.key, ...metadataQuery(options.metadata) };
    return this.transport.send<Usage>({ method: "GET", path: "usage", query, headers, signal: options.signal, expect: "counters" });
  }

  /**
   * A user's counters now and after every change, until you stop. The client reconnects lost streams.
   *
   * @throws QuotagateError if a retry cannot help: `invalid_key` (401), `forbidden_key` (403)
   *
   * @example
   * for await (const usage of client.watchUsage("u_42", { signal })) badge.show(usage.counters[0]);
   */
  watchUsage(userId: string, options: WatchOptions & { event?: string } = {}): AsyncIterableIterator<Usage> {
    return watch(this.transport, userId, options);
  }

  /**
   * Puts a user on a plan, or changes the subscription. The same values again change nothing; absent fields stay, null
   * clears a field.
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
   * The plans of the app, with their limit groups; also for `pk_` keys.
   *
   * @example
   * for (const plan of await client.availablePlans()) console.log(plan.id, plan.groups.length);
   */
  async availablePlans(options: CallOptions = {}): Promise<Plan[]> {
    const page = await this.transport.send<{ data: Plan[] }>({ method: "GET", path: "plans", signal: options.signal, expect: "data" });
    return page.data;
  }

  /** The number of commits and other calls that wait for the gateway. */
  get undeliveredCount(): number {
    return this.backlog.size;
  }

  /**
   * Retries the waiting calls for this long. Returns how many still wait.
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
   * Repeats a call that `onUndelivered` received, with its idempotency key, so that it counts once.
   *
   * @param undelivered `call`, `body` and `idempotencyKey`, for example from your database
   * @throws GatewayUnavailable the call is still undelivered
   * @throws QuotagateError the gateway refused the call, for example `reservation_expired` (410)
   *
   * @example
   * const client = createClient({ onUndelivered: ({ call, body, idempotencyKey }) => store({ call, body, idempotencyKey }) });
   * for (const one of await stored()) await client.redeliver(one);
   */
  async redeliver(undelivered: Repeatable): Promise<void> {
    await this.transport.send(requestOf(undelivered, undelivered.idempotencyKey));
  }

  /**
   * Call this before the process ends: it flushes, and passes the remaining calls to `onUndelivered`.
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
 * Creates a client. Without options it reads `QUOTAGATE_KEY` and `QUOTAGATE_URL`.
 *
 * @throws QuotagateError `invalid_options`
 *
 * @example
 * const client = createClient({ onUnavailable: "allow" });
 * const r = await client.reserve("u_42", "image.render");
 */
export function createClient(options: ClientOptions = {}): Client {
  return new Client(options);
}
