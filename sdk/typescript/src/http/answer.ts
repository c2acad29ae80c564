/** Turns HTTP answers into results and errors. */
import { denial, GatewayUnavailable, QuotagateError } from "../errors.js";
import type { FieldError } from "../models.js";
import type { Decision } from "../results.js";
import { retryAfterMs } from "./backoff.js";

/** A usable answer. */
export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** A failure after which a retry can help. */
export class Transient extends Error {
  constructor(
    readonly failure: QuotagateError,
    /** The wait that the gateway requests. */
    readonly waitMs?: number,
  ) {
    super(failure.message);
  }
}

/** In bytes, after decompression. The gateway never sends more. */
const LARGEST_ANSWER = 32 * 1024 * 1024;

/** The whole body as text; throws {@link Transient} as soon as it is too large. */
async function textIn(response: Response): Promise<string> {
  if (!response.body) return response.text();
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > LARGEST_ANSWER) {
      await reader.cancel().catch(() => {});
      throw new Transient(new GatewayUnavailable("Not an answer of the gateway: the body is too large"));
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** Statuses that mean: retry later. */
const TRANSIENT = new Set([502, 503, 504]);

/** Codes of a 429 that mean: too many reads or batches are running, retry later. */
const BUSY = new Set(["too_many_reads", "too_many_streams", "too_many_whatifs", "too_many_batches"]);

/** The JSON object in a text, or undefined. */
function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** The text without secrets, and short enough for a log line. */
function clean(text: string, redact: (text: string) => string): string {
  return redact(text).slice(0, 1_000);
}

/** The error for a status and a problem document, or for an answer without one. */
export function errorFrom(status: number, problem: Record<string, unknown> | undefined, redact: (text: string) => string): QuotagateError {
  const field = (value: unknown) => (typeof value === "string" ? clean(value, redact) : undefined);
  const code = field(problem?.code);
  const requestId = field(problem?.requestId);
  const detail = textOf(problem?.detail) ?? textOf(problem?.title);
  const message = clean(detail ?? `HTTP ${status}, not from a quotagate gateway: check baseUrl`, redact);
  if (TRANSIENT.has(status)) return new GatewayUnavailable(message, { status, code: code ?? "gateway_unavailable", requestId });
  const errors = Array.isArray(problem?.errors) ? (problem.errors as FieldError[]) : undefined;
  if (status === 429 && problem?.decision) return denial(problem.decision as Decision);
  return new QuotagateError({ code: code ?? "unexpected_answer", message, status, requestId, errors });
}

/**
 * The body of a successful answer. Throws {@link Transient} if a retry can help: 502 to 504, too many reads or batches,
 * and a successful answer without the field `expect`, which comes from a proxy instead of the gateway.
 */
export async function read<T>(response: Response, expect: string | undefined, redact: (text: string) => string): Promise<Answer<T>> {
  const text = await textIn(response);
  const { status, headers } = response;
  if (status === 204) return { status, headers, body: undefined as T };
  if (status >= 200 && status < 300) {
    const body = parse(text);
    if (body === undefined || (expect !== undefined && !(expect in body))) {
      throw new Transient(new GatewayUnavailable("Not an answer of the gateway: the body is malformed"));
    }
    return { status, headers, body: body as T };
  }
  const error = errorFrom(status, parse(text), redact);
  if (error instanceof GatewayUnavailable || BUSY.has(error.code)) throw new Transient(error, retryAfterMs(headers.get("retry-after")));
  throw error;
}
