/** Learned estimates: what calls are held with while their figures are not known. */
import { everyEntry, type ListOptions, type Page, Resource } from "./admin/resource.js";
import type { LearnedEstimateView } from "./models.js";

/** The filter of learned estimates. */
export interface EstimateOptions extends ListOptions {
  /** Only estimates of this event; `*` stands for any characters. */
  event?: string;
}

/** What the gateway has learned. Needs an `sk_` or `ak_` key. */
export class Estimates extends Resource {
  /**
   * A page of the learned estimates, by event, field and metadata values.
   *
   * @example
   * const { data } = await client.estimates.list({ event: "llm.chat" });
   */
  list(options: EstimateOptions = {}): Promise<Page<LearnedEstimateView>> {
    const { event, cursor, limit } = options;
    return this.read([], { event, cursor, limit }, options);
  }

  /**
   * Every learned estimate, page by page.
   *
   * @example
   * for await (const { by, value, samples } of client.estimates.all()) console.log(by, value, samples);
   */
  all(options: Omit<EstimateOptions, "cursor"> = {}): AsyncGenerator<LearnedEstimateView, void, undefined> {
    return everyEntry((cursor) => this.list({ ...options, ...(cursor !== undefined && { cursor }) }));
  }
}
