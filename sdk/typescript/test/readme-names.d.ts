/** The names that the README's examples use but do not define: those of a reader's application. */

interface Answer {
  text: string;
  tokens: number;
}

interface Provider {
  complete(prompt: string): Promise<Answer>;
  stream(prompt: string, options: { signal: AbortSignal }): AsyncIterable<Answer>;
}

declare const client: import("@quotagate/sdk").Client;
declare const userId: string;
declare const prompt: string;
declare const provider: Provider;
declare const otherProvider: Provider;
declare const steps: (() => Promise<Answer>)[];
declare const calls: { id: string }[];
declare const event: { id: string; paidAt: string; paidUntil: string };
declare const languageModel: Parameters<typeof import("ai").wrapLanguageModel>[0]["model"];
declare function render(prompt: string, signal?: AbortSignal): Promise<string>;
declare function userOf(request: { headers: unknown }): string;
