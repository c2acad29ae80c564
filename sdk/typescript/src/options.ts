/** How a client is set up. */
import { QuotagateError } from "./errors.js";
import type { Undelivered } from "./handed-over.js";

/** The part of `fetch` that is used. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** What `reserve` and `canUse` answer when the gateway cannot be reached within the deadline. */
export type OnUnavailable = "deny" | "allow";

/** Options of `createClient`. */
export interface ClientOptions {
  /** `sk_…` in back ends, `pk_…` in browsers, `ak_…` for the `admin` part. */
  apiKey: string;
  /** Where the gateway is; else the variable `QUOTAGATE_URL`, else `http://127.0.0.1:8080`. */
  baseUrl?: string;
  /** How long one attempt may take, in milliseconds. Default 3,000. */
  timeoutMs?: number;
  /** How long a call may take with all its attempts, in milliseconds. Default 10,000. */
  deadlineMs?: number;
  /** How often a failed attempt is repeated, at most. Default 4; 0 never repeats. */
  retries?: number;
  /**
   * `"deny"` (default): without an answer nothing is spent, `allowed` is false with the reason `gateway_unavailable`.
   * `"allow"`: the application goes on unmetered, `allowed` is true without a reservation.
   * Either is marked `degraded: true`.
   */
  onUnavailable?: OnUnavailable;
  /** Denials of `reserve`, `extend` and an enforcing `track` are thrown as `LimitReached`. Default false. */
  throwOnDeny?: boolean;
  /**
   * Receives every commit that could not be delivered in its time, or was refused when it was. Without it they are
   * written to the console.
   */
  onUndelivered?: (undelivered: Undelivered) => void | Promise<void>;
  /** Instead of the platform's `fetch`. */
  fetch?: Fetch;
  /** With an `ak_` key: what is worked on, `live` (default), `test` or `test/<sandbox>`. */
  mode?: string;
  /** With the root admin key: which app is worked on. Default `default`. */
  app?: string;
  /** With a `pk_` key that requires it: the token of the one user whose usage is read. */
  userToken?: string;
}

/** Options with every default filled in, and checked. */
export interface Settings {
  baseUrl: string;
  timeoutMs: number;
  deadlineMs: number;
  retries: number;
  onUnavailable: OnUnavailable;
  throwOnDeny: boolean;
  fetch: Fetch;
  headers: Record<string, string>;
  /** Takes the key out of a text. */
  redact: (text: string) => string;
}

const DEFAULT_URL = "http://127.0.0.1:8080";

function invalid(message: string): QuotagateError {
  return new QuotagateError({ code: "invalid_options", message, status: 400 });
}

/** The environment, where there is one. */
function environment(name: string): string | undefined {
  const runtime = globalThis as { process?: { env?: Record<string, string | undefined> } };
  try {
    const value = runtime.process?.env?.[name];
    return value === "" ? undefined : value;
  } catch {
    // Deno asks for a permission that it may not get.
    return undefined;
  }
}

function checkedUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw invalid("baseUrl must be a URL such as http://127.0.0.1:8080");
  }
  // fetch refuses such URLs with a message that shows them.
  if (url.username || url.password) throw invalid("baseUrl must not carry a user name or password");
  if (url.protocol !== "http:" && url.protocol !== "https:") throw invalid("baseUrl must begin with http:// or https://");
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

/** A header's value; anything else makes fetch fail with a message that shows it. */
function checkedHeader(name: string, value: unknown): string {
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw invalid(`${name} must be a text of printable ASCII characters without spaces`);
  }
  return value;
}

function atLeast(name: string, value: number, least: number): number {
  if (!(value >= least)) throw invalid(`${name} must be a number of at least ${least}`);
  return value;
}

/** Fills in the defaults; throws `invalid_options` at what cannot work. */
export function settle(options: ClientOptions): Settings {
  const key = checkedHeader("apiKey", options.apiKey);
  const headers: Record<string, string> = { authorization: `Bearer ${key}`, accept: "application/json" };
  if (options.mode !== undefined) headers["x-mode"] = checkedHeader("mode", options.mode);
  if (options.app !== undefined) headers["x-app"] = checkedHeader("app", options.app);
  if (options.userToken !== undefined) headers["x-user-token"] = checkedHeader("userToken", options.userToken);
  const onUnavailable = options.onUnavailable ?? "deny";
  if (!["deny", "allow"].includes(onUnavailable)) throw invalid('onUnavailable must be "deny" or "allow"');
  return {
    baseUrl: checkedUrl(options.baseUrl ?? environment("QUOTAGATE_URL") ?? DEFAULT_URL),
    timeoutMs: atLeast("timeoutMs", options.timeoutMs ?? 3_000, 1),
    deadlineMs: atLeast("deadlineMs", options.deadlineMs ?? 10_000, 1),
    retries: atLeast("retries", options.retries ?? 4, 0),
    onUnavailable,
    throwOnDeny: options.throwOnDeny ?? false,
    // Looked up at each call, so that instrumentation that replaces it later is seen; called as a plain function.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    headers,
    redact: (text) => [key, options.userToken].reduce((clean: string, secret) => (secret ? clean.split(secret).join("[key]") : clean), text),
  };
}
