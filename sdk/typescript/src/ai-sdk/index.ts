/** Metering for the Vercel AI SDK, as middleware for language models. */
import type { Client } from "../client.js";
import { charactersOf, planned, type PlannedCall, reportTokens, type TokenRules, tokensOf, type TokenUsage } from "../llm/tokens.js";
import type { StartedReservation } from "../reservation/start.js";

export type { TokenRules } from "../llm/tokens.js";

/** A number, or an object with a total, depending on the version of the specification. */
type Count = number | { total?: number | undefined; cacheRead?: number | undefined } | undefined;

interface Usage {
  inputTokens?: Count;
  outputTokens?: Count;
  cachedInputTokens?: number | undefined;
}

interface Part {
  type: string;
  delta?: unknown;
  usage?: unknown;
}

interface CallLike {
  params: { prompt: unknown; maxOutputTokens?: number | undefined; abortSignal?: AbortSignal | undefined };
  model: { provider: string; modelId: string };
}

type Method = "doGenerate" | "doStream";

/** Calls the model: as it is (`plain`), or with another maximum of tokens. */
function send<R>({ params, model }: CallLike, method: Method, limit: number | undefined, plain: () => PromiseLike<R>): PromiseLike<R> {
  if (limit === undefined) return plain();
  const callable = model as unknown as Record<Method, (params: object) => PromiseLike<R>>;
  return callable[method]({ ...params, maxOutputTokens: limit });
}

const total = (count: Count): number | undefined => (typeof count === "object" ? count.total : count);

function usageOf(value: unknown): TokenUsage | undefined {
  const usage = (value ?? {}) as Usage;
  const prompt = total(usage.inputTokens);
  const completion = total(usage.outputTokens);
  if (prompt === undefined && completion === undefined) return undefined;
  const cached = typeof usage.inputTokens === "object" ? usage.inputTokens.cacheRead : usage.cachedInputTokens;
  return { prompt: prompt ?? 0, completion: completion ?? 0, cached };
}

function plannedCall({ params, model }: CallLike): PlannedCall {
  return { provider: model.provider, model: model.modelId, prompt: params.prompt, maxTokens: params.maxOutputTokens, signal: params.abortSignal };
}

/**
 * Middleware for `wrapLanguageModel` of the AI SDK (5 or later): each model call reserves an estimate of the prompt
 * tokens and `maxOutputTokens`, and commits the provider's usage, also for streams. A stream that you stop early is
 * charged for what it produced. Failed calls release. A denial throws `Denied`. With `minTokens` it reserves as much as
 * fits, and lowers `maxOutputTokens` to that.
 *
 * @param specificationVersion the version in the types of your AI SDK: `v3` (default; AI SDK 5 and 6) or `v4` (AI SDK 7)
 *
 * @example
 * const model = wrapLanguageModel({ model: openai("gpt-4o-mini"), middleware: quotaMiddleware(client, { userId: "u_42" }) });
 * const { text } = await generateText({ model, prompt, maxOutputTokens: 500 });
 */
export function quotaMiddleware<V extends "v3" | "v4" = "v3">(client: Client, rules: TokenRules, specificationVersion: V = "v3" as V) {
  return {
    specificationVersion,

    async wrapGenerate<R extends { usage: unknown; response?: { id?: string | undefined } | undefined }>(call: CallLike & { doGenerate: () => PromiseLike<R> }): Promise<R> {
      const { request, fitted } = planned(rules, plannedCall(call));
      const started = await client.startReservation(request);
      let result: R;
      try {
        result = await send(call, "doGenerate", fitted(started.reservation), () => call.doGenerate());
      } catch (error) {
        await started.abandon(error);
        throw error;
      }
      const usage = usageOf(result.usage);
      if (usage) reportTokens(started.reservation, usage, result.response?.id);
      await started.finish();
      return result;
    },

    async wrapStream<P extends Part, R extends { stream: ReadableStream<P> }>(call: CallLike & { doStream: () => PromiseLike<R> }): Promise<R> {
      const { request, promptTokens, fitted } = planned(rules, plannedCall(call));
      const started = await client.startReservation(request);
      try {
        const result = await send(call, "doStream", fitted(started.reservation), () => call.doStream());
        return { ...result, stream: metered(started, result.stream, promptTokens, call.params.abortSignal) };
      } catch (error) {
        await started.abandon(error);
        throw error;
      }
    },
  };
}

/** Yields the parts, counts them, and settles before the last one or when the reader leaves. */
function metered<P extends Part>(started: StartedReservation, parts: ReadableStream<P>, promptTokens: number, signal: AbortSignal | undefined): ReadableStream<P> {
  const { reservation } = started;
  const reader = parts.getReader();
  const leave = () => (reservation.hasUsed ? started.finish() : started.abandon());
  const onAbort = () => void leave().catch(() => {});
  signal?.addEventListener("abort", onAbort, { once: true });
  let characters = 0;

  async function look(part: P): Promise<void> {
    if (part.type.endsWith("-delta")) {
      characters += charactersOf(part.delta);
      reportTokens(reservation, { prompt: promptTokens, completion: tokensOf(characters) });
    }
    if (part.type !== "finish") return;
    const usage = usageOf(part.usage);
    if (usage) reportTokens(reservation, usage);
    await started.finish();
  }

  return new ReadableStream<P>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) {
            await look(value);
            controller.enqueue(value);
            return;
          }
          signal?.removeEventListener("abort", onAbort);
          // A stream without a finish part has failed.
          await leave();
          controller.close();
        } catch (error) {
          await leave();
          throw error;
        }
      },
      async cancel(reason) {
        await Promise.allSettled([reader.cancel(reason), leave()]);
      },
    },
    { highWaterMark: 0 },
  );
}
