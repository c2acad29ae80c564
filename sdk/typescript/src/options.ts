/** The options of a client. */
import { QuotagateError } from "./errors.js";
import type { Undelivered } from "./handed-over.js";

/** The part of `fetch` that is used. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** The answer of `reserve` and `canUse` when the gateway cannot be reached within the deadline. */
export type OnUnavailable = "deny" | "allow";

/** Options of `createClient`. */
export interface ClientOptions {
  /**
   * `sk_…` in back ends, `pk_…` in browsers, `ak_…` for the `admin` part. Default: the environment variable
   * `QUOTAGATE_KEY`.
   */
  apiKey?: string | undefined;
  /** Default: the environment variable `QUOTAGATE_URL`, or `http://127.0.0.1:8080`. */
  baseUrl?: string;
  /** The longest time of one attempt, in milliseconds. Default 3,000. */
  timeoutMs?: number;
  /** The longest time of a call with all its attempts, in milliseconds. Default 10,000. */
  deadlineMs?: number;
  /** How often the client retries a failed attempt, at most. Default 4. */
  retries?: number;
  /**
   * Without an answer of the gateway: `"deny"` (default) answers `allowed: false` with the reason `gateway_unavailable`,
   * `"allow"` answers `allowed: true` without a reservation. Both are marked `degraded: true`.
   */
  onUnavailable?: OnUnavailable;
  /** `reserve`, `extend` and an enforcing `track` throw `Denied` instead of returning a denial. Default false. */
  throwOnDeny?: boolean;
  /**
   * Receives every commit and kept track that could not be delivered in time, or that the gateway refused. By default
   * they are written to the console.
   */
  onUndelivered?: (undelivered: Undelivered) => void | Promise<void>;
  /** Instead of the platform's `fetch`. */
  fetch?: Fetch;
  /** The mode that an `ak_` key works in: `live` (default), `test` or `test/<sandbox>`. */
  mode?: string;
  /** The app that the root admin key works on. Default `default`. */
  app?: string;
  /** The user's token, for a `pk_` key that requires one. */
  userToken?: string;
}

/** The checked options, with all defaults. */
export interface Settings {
  baseUrl: string;
  timeoutMs: number;
  deadlineMs: number;
  retries: number;
  onUnavailable: OnUnavailable;
  throwOnDeny: boolean;
  fetch: Fetch;
  headers: Record<string, string>;
  /** Removes the key from a text. */
  redact: (text: string) => string;
}

const DEFAULT_URL = "http://127.0.0.1:8080";

function invalid(message: string): QuotagateError {
  return new QuotagateError({ code: "invalid_options", message, status: 400 });
}

/** A variable of the environment, if there is one. */
function environment(name: string): string | undefined {
  const runtime = globalThis as { process?: { env?: Record<string, string | undefined> } };
  try {
    const value = runtime.process?.env?.[name];
    return value === "" ? undefined : value;
  } catch {
    // Deno may deny access to the environment.
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
  // fetch would reject such a URL with an error that shows it.
  if (url.username || url.password) throw invalid("baseUrl must not contain a user name or password");
  if (url.protocol !== "http:" && url.protocol !== "https:") throw invalid("baseUrl must begin with http:// or https://");
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

/** Checks a header's value here, since the error of fetch would show it. */
function checkedHeader(name: string, value: unknown): string {
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw invalid(`${name} must be printable ASCII characters without spaces`);
  }
  return value;
}

function atLeast(name: string, value: number, least: number): number {
  if (!(value >= least)) throw invalid(`${name} must be a number of at least ${least}`);
  return value;
}

/** Checks the options and adds the defaults; throws `invalid_options`. */
export function settingsOf(options: ClientOptions): Settings {
  const given = options.apiKey ?? environment("QUOTAGATE_KEY");
  if (given === undefined) throw invalid("apiKey is missing: pass it, or set QUOTAGATE_KEY");
  const key = checkedHeader("apiKey", given);
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
    // Looked up at each call, since instrumentation may replace fetch later.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    headers,
    redact: (text) => [key, options.userToken].reduce((clean: string, secret) => (secret ? clean.split(secret).join("[key]") : clean), text),
  };
}
