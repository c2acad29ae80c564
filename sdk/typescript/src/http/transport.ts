/** Sends one call to the gateway: attempts, waits, and the deadline of the whole call. */
import { GatewayUnavailable, QuotagateError } from "../errors.js";
import type { Settings } from "../options.js";
import { abortReason, sleep, timeLimit, unlessAborted } from "./abort.js";
import { type Answer, errorFrom, read, Transient } from "./answer.js";
import { backoffMs } from "./backoff.js";
import { newIdempotencyKey } from "./idempotency.js";

/** One call of the gateway's API. */
export interface Call {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** Under `/api/v1/`, with encoded parts. */
  path: string;
  /** A list is sent as a repeated parameter. */
  query?: Record<string, string | number | boolean | string[] | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  /** Send an idempotency key, the same with each attempt. */
  write?: boolean;
  /** Instead of a new one. */
  idempotencyKey?: string | undefined;
  /** A field of every successful answer. */
  expect?: string;
  /** Treat 404 on a retry as success: an earlier attempt has deleted it. */
  goneIsDone?: boolean;
  signal?: AbortSignal | undefined;
  /** Instead of the client's. */
  deadlineMs?: number;
  /** Instead of the client's. */
  retries?: number;
}

const now = (): number => performance.now();

/** The code or name of an error of fetch. Its text might contain secrets. */
function connectionFault(error: unknown): string {
  const inner = (error as { cause?: { code?: unknown } } | undefined)?.cause?.code;
  if (typeof inner === "string" && /^[A-Z0-9_]+$/.test(inner)) return inner;
  return error instanceof Error && /^\w+$/.test(error.name) ? error.name : "unknown";
}

/** Sends calls. */
export class Transport {
  readonly #settings: Settings;
  /** Called after each answer, so that waiting calls are retried. */
  onReached: () => void = () => {};

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The whole URL of a path. */
  url(path: string, query: Call["query"] = {}): string {
    const given = Object.entries(query).filter((pair) => pair[1] !== undefined);
    const pairs = given.flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
    const search = new URLSearchParams(pairs).toString();
    return `${this.#settings.baseUrl}/api/v1/${path}${search ? `?${search}` : ""}`;
  }

  /**
   * The answer's body.
   *
   * @throws QuotagateError the gateway refused the call
   * @throws GatewayUnavailable no usable answer within the deadline
   */
  async send<T>(call: Call): Promise<T> {
    return (await this.answer<T>(call)).body;
  }

  /** The error for a problem document within an answer. */
  problem(status: number, problem: Record<string, unknown>): QuotagateError {
    return errorFrom(status, problem, this.#settings.redact);
  }

  /** The whole answer; throws like {@link send}. */
  async answer<T>(call: Call): Promise<Answer<T>> {
    const { deadlineMs, retries } = { ...this.#settings, ...withoutUndefined(call) };
    const ends = now() + deadlineMs;
    const init = this.#init(call);
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await this.#attempt<T>(call, init, ends - now());
        this.onReached();
        return answer;
      } catch (error) {
        if (attempt > 0 && call.goneIsDone && (error as { status?: number }).status === 404) {
          return { status: 204, headers: new Headers(), body: undefined as T };
        }
        if (!(error instanceof Transient)) throw error;
        // At least as long as the gateway requests.
        const wait = (error.waitMs ?? 0) + backoffMs(attempt);
        if (attempt >= retries || now() + wait >= ends) throw error.failure;
        await sleep(wait, call.signal);
      }
    }
  }

  /** Returns a function that removes the client's secrets and the token of this call from a text. */
  #redacting(headers: Record<string, string>): (text: string) => string {
    const token = headers["x-user-token"];
    return (text) => this.#settings.redact(token ? text.split(token).join("[key]") : text);
  }

  #init(call: Call): RequestInit {
    const headers: Record<string, string> = { ...this.#settings.headers, ...call.headers };
    if (call.body !== undefined) headers["content-type"] = "application/json";
    if (call.write) headers["idempotency-key"] = call.idempotencyKey ?? newIdempotencyKey();
    checkHeaders(headers);
    // A redirect would turn a POST into a GET and send the key elsewhere.
    const init: RequestInit = { method: call.method, headers, redirect: "manual" };
    if (call.body !== undefined) init.body = JSON.stringify(call.body);
    return init;
  }

  async #attempt<T>(call: Call, init: RequestInit, leftMs: number): Promise<Answer<T>> {
    const limit = timeLimit(Math.min(this.#settings.timeoutMs, leftMs), call.signal);
    try {
      const exchange = async () => {
        const response = await this.#settings.fetch(this.url(call.path, call.query), { ...init, signal: limit.signal });
        return read<T>(response, call.expect, this.#redacting(init.headers as Record<string, string>));
      };
      // Also ends if a fetch ignores its signal.
      return await unlessAborted(exchange(), limit.signal);
    } catch (error) {
      if (call.signal?.aborted) throw abortReason(call.signal);
      if (limit.timedOut()) throw new Transient(new GatewayUnavailable("The gateway did not answer in time"));
      if (error instanceof Transient || error instanceof QuotagateError) throw error;
      throw new Transient(new GatewayUnavailable(`The gateway cannot be reached (${connectionFault(error)})`));
    } finally {
      limit.done();
    }
  }

  /** A streaming GET: returns the response after its headers; the controller ends it. */
  async open(path: string, query: Call["query"], headers: Record<string, string>, controller: AbortController): Promise<Response> {
    const all = { ...this.#settings.headers, ...headers };
    checkHeaders(all);
    const timer = setTimeout(() => controller.abort(), this.#settings.timeoutMs);
    const init: RequestInit = { headers: all, redirect: "manual", signal: controller.signal };
    try {
      const response = await this.#settings.fetch(this.url(path, query), init);
      if (!response.ok) await read(response, undefined, this.#redacting(all));
      this.onReached();
      return response;
    } catch (error) {
      if (error instanceof Transient || error instanceof QuotagateError) throw error;
      throw new Transient(new GatewayUnavailable(`The gateway cannot be reached (${connectionFault(error)})`));
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The names of these headers in the options of a call, and their greatest lengths. */
const OPTIONS: Record<string, [name: string, most: number]> = {
  "idempotency-key": ["idempotencyKey", 255],
  "x-user-token": ["userToken", 1_024],
  "last-event-id": ["after", 255],
};

/** Rejects values that no header can contain: fetch would fail with each retry, as if the gateway were unreachable. */
function checkHeaders(headers: Record<string, string>): void {
  for (const [header, [name, most]] of Object.entries(OPTIONS)) {
    const value: unknown = headers[header];
    if (value === undefined) continue;
    if (typeof value !== "string" || value.length > most || !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
      throw new QuotagateError({ code: "invalid_request", message: `${name} must be 1 to ${most} printable ASCII characters`, status: 400 });
    }
  }
}

function withoutUndefined(call: Call): { deadlineMs?: number; retries?: number } {
  return {
    ...(call.deadlineMs !== undefined && { deadlineMs: call.deadlineMs }),
    ...(call.retries !== undefined && { retries: call.retries }),
  };
}
