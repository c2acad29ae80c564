/** The metering calls: reserve, commit, release, extend, track, canUse, and batch. */
import { type BatchResults, notCounted, type Operation, sendBatch, settles, withDenials } from "./batch.js";
import { denial, Denied, GatewayUnavailable, QuotagateError } from "./errors.js";
import { abortReason, unlessAborted } from "./http/abort.js";
import { newIdempotencyKey } from "./http/idempotency.js";
import { Transport } from "./http/transport.js";
import { GRACE_MS, Lifetimes } from "./lifetimes.js";
import type { CommitBody, Outcome, OutcomeView, ReleaseBody, SettlementView, TrackBody, TrackedView } from "./models.js";
import type { OnUnavailable, Settings } from "./options.js";
import { checkQuantities, checkQuantity } from "./quantities.js";
import type { CanUse, Decision, Item, Metadata, Quantity, Settlement, Tracked } from "./results.js";
import type {
  CallOptions,
  CanUseOptions,
  CommitOptions,
  ExtendOptions,
  ReleaseOptions,
  ReserveOptions,
  ReserveRequest,
  TrackOptions,
  WriteOptions,
} from "./call-options.js";
import { logUndelivered, type Undelivered } from "./handed-over.js";
import { Backlog, isUndelivered } from "./undelivered.js";

/** The default time to live of a hold. */
const DEFAULT_TTL_SECONDS = 60;

/** The settlement of a call without reservation. */
const UNMETERED: Settlement = Object.freeze({ reservationId: "", status: "unmetered", counters: [] });

/** A decision without a hold has no id. */
type ReservationId = string | null | undefined;

function unavailableAnswer(onUnavailable: OnUnavailable): Pick<Decision, "allowed" | "matched" | "matchedGroupIds" | "reasons" | "degraded"> {
  const allowed = onUnavailable === "allow";
  return { allowed, matched: false, matchedGroupIds: [], reasons: allowed ? [] : ["gateway_unavailable"], degraded: true };
}

/** The metering part of a client. */
export class Metering {
  /** @internal */
  protected readonly transport: Transport;
  /** @internal */
  protected readonly backlog: Backlog;
  readonly #settings: Settings;
  readonly #lifetimes = new Lifetimes();
  /** The last running settlement of each reservation. */
  readonly #running = new Map<string, Promise<unknown>>();

  /** @internal */
  constructor(settings: Settings, onUndelivered: ((undelivered: Undelivered) => void | Promise<void>) | undefined) {
    this.#settings = settings;
    this.transport = new Transport(settings);
    this.backlog = new Backlog(this.transport, onUndelivered ?? logUndelivered);
    this.transport.onReached = () => this.backlog.wake();
  }

  /** What this client answers when the gateway cannot be reached. */
  get onUnavailable(): OnUnavailable {
    return this.#settings.onUnavailable;
  }

  /**
   * Checks every limit that applies and holds the quantity in all of them, or in none.
   *
   * @param userId 1 to 256 bytes
   * @param event 1 to 128 bytes, such as `image.render`
   * @param quantity in the unit of the matched groups, greater than 0; default 1
   * @param metadata at most 32 keys with scalar values
   * @param options `ttlSeconds` 1 to 3,600 (default 60): an unsettled hold then expires; `fit`: hold as much of one
   *   figure as fits
   * @returns a decision: check `allowed`. With `fit`, `fitted` has the value that was held. If the gateway cannot be
   *   reached, `onUnavailable` decides; usage without a reservation can be counted by `track` with `keep`
   * @throws QuotagateError `invalid_request` (400), `invalid_key` (401), `forbidden_key` (403)
   * @throws Denied, GatewayUnavailable instead of returning a denial, on a client with `throwOnDeny`
   *
   * @example
   * const r = await client.reserve("u_42", "image.render", 1, { variant: "1k" });
   * if (!r.allowed) return new Response(r.reasons[0], { status: 429 });
   *
   * @example
   * const tokens = { prompt_tokens: 1_200, completion_tokens: 4_000 };
   * const r = await client.reserve("u_42", "llm.chat", 1, tokens, { fit: { field: "completion_tokens", min: 256 } });
   * const maxTokens = r.fitted?.completion_tokens ?? 256; // no value: denied, or the gateway could not be reached
   */
  async reserve<F extends string = string>(userId: string, event: string, quantity?: Quantity, metadata?: Metadata, options: ReserveOptions<F> = {}): Promise<Decision<F>> {
    const { fit, ...rest } = options;
    return this.#decide({ userId, event, quantity, metadata, fit }, rest);
  }

  /**
   * Reserves several events in one step: all of them are held, or none. One commit or release settles them.
   *
   * @param items 1 to 10 events
   * @param options as of `reserve`, without `fit`
   * @returns as `reserve`
   * @throws QuotagateError, Denied, GatewayUnavailable as `reserve`
   *
   * @example
   * const r = await client.reserveItems("u_42", [{ event: "image.render" }, { event: "llm.tokens", quantity: 900 }]);
   * await client.commit(r.reservationId, { items: [{}, { quantity: 640 }] });
   */
  async reserveItems(userId: string, items: Item[], options: Omit<ReserveOptions, "fit"> = {}): Promise<Decision> {
    return this.#decide({ userId, items }, options);
  }

  async #decide(body: ReserveRequest, options: ReserveOptions): Promise<Decision> {
    try {
      const decision = await this.requestDecision(body, options);
      if (!decision.allowed && this.#settings.throwOnDeny) throw denial(decision);
      return decision;
    } catch (error) {
      if (!(error instanceof GatewayUnavailable)) throw error;
      if (this.onUnavailable === "deny" && this.#settings.throwOnDeny) throw error;
      return { ...unavailableAnswer(this.onUnavailable), deniedBy: [], counters: [] };
    }
  }

  /**
   * The gateway's own decision; throws GatewayUnavailable without one.
   * @internal
   */
  protected async requestDecision(body: ReserveRequest, options: ReserveOptions): Promise<Decision> {
    checkQuantities(body);
    const { signal, idempotencyKey, ttlSeconds } = options;
    if (signal?.aborted) throw abortReason(signal);
    const sent = this.transport.send<Decision>({ method: "POST", path: "reserve", body: { ...body, ttlSeconds }, write: true, idempotencyKey, expect: "allowed" });
    const noted = sent.then((decision) => {
      if (decision.reservationId) this.#lifetimes.lives(decision.reservationId, ttlSeconds ?? DEFAULT_TTL_SECONDS);
      return decision;
    });
    try {
      return await unlessAborted(noted, signal);
    } catch (error) {
      if (signal?.aborted) this.#releaseWhenAnswered(noted);
      throw error;
    }
  }

  /** Releases the hold of a reserve whose caller has cancelled. */
  #releaseWhenAnswered(reserve: Promise<Decision>): void {
    const release = async () => {
      const { reservationId } = await reserve;
      if (reservationId) await this.release(reservationId, { reason: "aborted" });
    };
    // Without an answer, the hold expires.
    release().catch(() => {});
  }

  /**
   * Confirms a reservation: without figures, the held amounts become used. With `quantity` or `metadata` the gateway
   * charges the actual figures: it returns the rest if they are less, and records them in full if they are more; 0 is
   * allowed. `final: false` charges the figures and keeps the rest of the hold.
   *
   * Without an id (an unmetered event, a degraded decision) the status is `unmetered`.
   *
   * If the gateway cannot be reached, this does not throw: the status is `undelivered`, and the client retries the
   * commit in the background until 15 minutes after the reservation's expiry, then passes it to `onUndelivered`.
   *
   * @throws QuotagateError `reservation_not_pending` (409: it was released), `reservation_expired` (410),
   *   `not_found` (404), `invalid_request` (400)
   *
   * @example
   * await client.commit(r.reservationId, { quantity: 812, metadata: { completion_tokens: 612 } });
   */
  async commit(reservationId: ReservationId, options: CommitOptions = {}): Promise<Settlement> {
    const { idempotencyKey = newIdempotencyKey(), keepMs, ...figures } = options;
    checkQuantities(figures);
    if (!reservationId) return UNMETERED;
    // The type of the model is number, but the gateway accepts decimal text, too.
    const body = { reservationId, ...figures } as CommitBody;
    const deliver = () => this.#deliver({ call: "commit", body }, idempotencyKey, keepMs ?? this.#lifetimes.settleMs(reservationId));
    const settlement = await this.#inTurn(reservationId, deliver);
    if (figures.final !== false && !settlement.degraded) this.#lifetimes.forget(reservationId);
    return settlement;
  }

  /**
   * Returns everything that is still held. It does not throw if the reservation is already settled (status `settled`)
   * or expired (`expired`), or if the gateway cannot be reached (`undelivered`: the client retries until the hold
   * expires). So it is safe in every `catch`.
   *
   * @throws QuotagateError `not_found` (404) for an unknown id, `invalid_key` (401)
   *
   * @example
   * try {
   *   const image = await render();
   *   await client.commit(id);
   * } catch (error) {
   *   await client.release(id, { reason: "render failed" });
   *   throw error;
   * }
   */
  async release(reservationId: ReservationId, options: ReleaseOptions = {}): Promise<Settlement> {
    if (!reservationId) return UNMETERED;
    const { idempotencyKey = newIdempotencyKey(), ...reasons } = options;
    const body: ReleaseBody = { reservationId, ...reasons };
    const keepMs = this.#lifetimes.holdMs(reservationId) ?? DEFAULT_TTL_SECONDS * 1000;
    try {
      const settlement = await this.#inTurn(reservationId, () => this.#deliver({ call: "release", body }, idempotencyKey, keepMs));
      if (!settlement.degraded) this.#lifetimes.forget(reservationId);
      return settlement;
    } catch (error) {
      if (!(error instanceof QuotagateError)) throw error;
      const status = quietStatus(error);
      if (!status) throw error;
      return { reservationId, status, counters: [] };
    }
  }

  /** Sends the settlements of one reservation in the order of the calls. */
  #inTurn<T>(reservationId: string, deliver: () => Promise<T>): Promise<T> {
    const turn = this.#running.get(reservationId)?.then(deliver, deliver) ?? deliver();
    this.#running.set(reservationId, turn);
    const done = () => {
      if (this.#running.get(reservationId) === turn) this.#running.delete(reservationId);
    };
    turn.then(done, done);
    return turn;
  }

  /** Sends a settlement. Stores it if it does not arrive, or if an earlier one is waiting. */
  async #deliver(
    work: { call: "commit"; body: CommitBody } | { call: "release"; body: ReleaseBody },
    idempotencyKey: string,
    keepMs: number,
  ): Promise<Settlement> {
    const { reservationId } = work.body;
    const kept = (failure: QuotagateError): Settlement => {
      this.backlog.keep(reservationId, { work, idempotencyKey, keepMs }, failure);
      return { reservationId, status: "undelivered", counters: [], degraded: true };
    };
    if (this.backlog.holds(reservationId)) {
      return kept(new GatewayUnavailable("An earlier call of this reservation is not delivered yet"));
    }
    try {
      const view = await this.transport.send<SettlementView>({
        method: "POST",
        path: work.call,
        body: work.body,
        write: true,
        idempotencyKey,
        expect: "reservationId",
      });
      return view as Settlement;
    } catch (error) {
      if (isUndelivered(error)) return kept(error);
      throw error;
    }
  }

  /**
   * Gives a reservation more time (at most 24 hours after the reserve), a larger amount, or both.
   *
   * @param options `ttlSeconds` 1 to 3,600 from now; `quantity`: the additional amount, checked like a reserve
   * @returns a decision; without room `allowed` is false and nothing has changed
   * @throws QuotagateError `reservation_not_pending` (409), `reservation_expired` (410), `not_found` (404)
   * @throws GatewayUnavailable no answer within the deadline
   * @throws Denied instead of returning a denial, on a client with `throwOnDeny`
   *
   * @example
   * await client.extend(r.reservationId, { ttlSeconds: 600 });
   */
  async extend(reservationId: string, options: ExtendOptions): Promise<Decision> {
    const { signal, idempotencyKey, ttlSeconds, quantity } = options;
    checkQuantity(quantity);
    const body = { reservationId, ttlSeconds, quantity };
    const decision = await this.transport.send<Decision>({ method: "POST", path: "extend", body, write: true, idempotencyKey, expect: "allowed", signal });
    if (decision.allowed && ttlSeconds !== undefined) this.#lifetimes.lives(reservationId, ttlSeconds);
    if (!decision.allowed && this.#settings.throwOnDeny) throw denial(decision);
    return decision;
  }

  /**
   * Records after a commit whether the end user accepted the result. The last call counts. A commit can do this, too.
   *
   * @throws QuotagateError `reservation_not_pending` (409: it is not committed), `reservation_expired` (410), `not_found` (404)
   *
   * @example
   * await client.outcome(r.reservationId, "rejected");
   */
  outcome(reservationId: string, outcome: Outcome, options: WriteOptions = {}): Promise<OutcomeView> {
    const path = `reservations/${encodeURIComponent(reservationId)}/outcome`;
    return this.transport.send<OutcomeView>({ method: "POST", path, body: { outcome }, write: true, ...options });
  }

  /**
   * Counts something that has happened, past the quota too. An event name that ends in `.refund` returns usage.
   *
   * @param quantity default 1
   * @param options `enforce`: count only if every limit has room; `keep`: if the gateway cannot be reached, retry in the
   *   background for 15 minutes instead of throwing
   * @throws GatewayUnavailable no answer within the deadline, without `keep`
   * @throws Denied with `enforce`, on a client with `throwOnDeny`
   *
   * @example
   * const t = await client.track("u_42", "api.call", 1, { team: "search" });
   * if (t.counters.some((counter) => counter.overage > 0)) nudge("u_42");
   */
  async track(userId: string, event: string, quantity?: Quantity, metadata?: Metadata, options: TrackOptions = {}): Promise<Tracked> {
    checkQuantity(quantity);
    const { enforce, keep, signal, idempotencyKey = newIdempotencyKey() } = options;
    const body = { userId, event, quantity, metadata, enforce } as TrackBody;
    try {
      const view = await this.transport.send<TrackedView>({ method: "POST", path: "track", body, write: true, idempotencyKey, expect: "eventId", signal });
      return { ...view, counted: true };
    } catch (error) {
      if (keep && isUndelivered(error)) {
        this.backlog.keep(idempotencyKey, { work: { call: "track", body }, idempotencyKey, keepMs: GRACE_MS }, error);
        return { counted: false, matchStatus: "unmatched", matchedGroupIds: [], counters: [], degraded: true };
      }
      if (!(error instanceof Denied) || this.#settings.throwOnDeny) throw error;
      return notCounted(error);
    }
  }

  /**
   * Answers what a reserve would answer now, without holding anything.
   *
   * @returns if the gateway cannot be reached, `onUnavailable` decides
   * @throws QuotagateError `invalid_request` (400), `invalid_key` (401)
   *
   * @example
   * const { allowed, details } = await client.canUse("u_42", "image.render");
   */
  async canUse<F extends string = string>(userId: string, event: string, quantity?: Quantity, metadata?: Metadata, options: CanUseOptions<F> = {}): Promise<CanUse<F>> {
    checkQuantity(quantity);
    const body = { userId, event, quantity, metadata, fit: options.fit };
    try {
      return await this.transport.send<CanUse<F>>({ method: "POST", path: "can-use", body, expect: "allowed", signal: options.signal });
    } catch (error) {
      if (!(error instanceof GatewayUnavailable)) throw error;
      return { ...unavailableAnswer(this.onUnavailable), details: [] };
    }
  }

  /**
   * Sends up to 100 operations in one request. The gateway decides each one as if it had been sent alone; operations of
   * one user keep their order. If an operation fails, its own result has an error.
   *
   * The client does not retry a batch in the background. If a result has an error with the status 503, or the call
   * throws, send those operations again; with an `idempotencyKey` in each, none counts twice.
   *
   * @param operations `op` (`reserve`, `commit`, `release`, `extend`, `track` or `can-use`) and the body of that call
   * @returns a result for each operation, in order: `ok` with the `body`, or not `ok` with the `error`
   * @throws QuotagateError `invalid_request` (400: none, or more than 100), `payload_too_large` (413: over 256 KiB)
   * @throws GatewayUnavailable no answer within the deadline
   *
   * @example
   * const [first, second] = await client.batch([
   *   { op: "commit", reservationId: a, quantity: 812 },
   *   { op: "track", userId: "u_42", event: "api.call" },
   * ]);
   * if (!first.ok) report(first.error);
   */
  async batch<const T extends readonly Operation[]>(operations: T, options: WriteOptions = {}): Promise<BatchResults<T>> {
    operations.forEach(checkQuantities);
    const settled = new Set(operations.flatMap((operation) => settles(operation) ?? []));
    await Promise.allSettled([...settled].flatMap((id) => this.#running.get(id) ?? []));
    const sent = sendBatch(this.transport, operations, { ...options, waits: (operation) => this.backlog.holds(settles(operation) ?? "") });
    for (const id of settled) void this.#inTurn(id, () => sent).catch(() => {});
    const results = await sent;
    for (const [place, result] of results.entries()) if (result.ok) this.#rememberLifetime(operations[place]!, result.body as Decision);
    return results.map(withDenials) as unknown as BatchResults<T>;
  }

  /** Updates the lifetime of a reservation after a successful operation. */
  #rememberLifetime(operation: Operation, { allowed, reservationId }: Decision): void {
    if (operation.op === "reserve" && reservationId) this.#lifetimes.lives(reservationId, operation.ttlSeconds ?? DEFAULT_TTL_SECONDS);
    if (operation.op === "extend" && allowed && operation.ttlSeconds != null) this.#lifetimes.lives(operation.reservationId, operation.ttlSeconds);
    if (operation.op === "release" || (operation.op === "commit" && operation.final !== false)) this.#lifetimes.forget(operation.reservationId);
  }

  /**
   * `canUse` as a boolean.
   *
   * @example
   * button.disabled = !(await client.can("u_42", "image.render"));
   */
  async can(userId: string, event: string, quantity?: Quantity, metadata?: Metadata, options: CallOptions = {}): Promise<boolean> {
    return (await this.canUse(userId, event, quantity, metadata, options)).allowed;
  }
}

/** The status for a release that has nothing to release. */
function quietStatus(error: QuotagateError): "settled" | "expired" | undefined {
  if (error.code === "reservation_not_pending") return "settled";
  return error.code === "reservation_expired" ? "expired" : undefined;
}
