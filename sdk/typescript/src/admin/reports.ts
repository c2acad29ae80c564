/** Reports, forecasts and closed windows. */
import type { CallOptions } from "../call-options.js";
import type { ForecastView, LimitsView, ReportView, UnusualView, WindowView } from "../models.js";
import { metadataQuery, type Page, Resource } from "./resource.js";

/** The filter and grouping of a report. */
export interface ReportRequest {
  /** Days in UTC, both included; default: the last 30 days. */
  from?: string;
  to?: string;
  /** One line for each of these; default `total`. */
  period?: "day" | "week" | "month" | "total";
  /** Up to four of `group`, `user`, `event`, `key`, `metadata.<name>`. */
  by?: string[];
  /** A name or a glob. */
  event?: string;
  userId?: string;
  keyId?: string;
  groupId?: string;
  metadata?: Record<string, string>;
  /** Ratios of two sums, such as `completion_tokens/prompt_tokens`; by their text in `ratios` of each line. */
  ratio?: string[];
  /** Sort all lines by this measure, largest first. Cannot be combined with `cursor`. */
  top?: "calls" | "denials" | "cost";
  /** 1 to 1,000 lines, default 100. */
  limit?: number;
  cursor?: string;
}

/** Reports. For CSV, call `GET reports/usage?format=csv` with `fetch`. */
export class Reports extends Resource {
  /**
   * Calls, denials, charges, cost and more.
   *
   * @throws QuotagateError `invalid_request` (400), also for more users than one report takes
   *
   * @example
   * const { data } = await client.admin.reports.usage({ by: ["user", "metadata.model"], period: "month" });
   */
  usage(options: CallOptions & ReportRequest = {}): Promise<ReportView> {
    const { by, metadata, signal, ...rest } = options;
    return this.read(["usage"], { ...rest, by: by?.join(","), ...metadataQuery(metadata) }, { signal });
  }

  /**
   * The counters that have used at least three quarters of their limit, and those that have used all of it.
   *
   * @param options `limit`: at most this many (1 to 200) of each, the fullest first
   *
   * @example
   * const { near, atLimit } = await client.admin.reports.limits({ limit: 10 });
   */
  limits(options: CallOptions & { limit?: number } = {}): Promise<LimitsView> {
    return this.read(["limits"], { limit: options.limit }, options);
  }

  /**
   * Unusual usage on a day, compared with the days before.
   *
   * @param options `at`: the day, default yesterday; `days`: the number of days before it
   *
   * @example
   * const { data } = await client.admin.reports.unusual({ by: ["group"] });
   */
  unusual(options: CallOptions & { at?: string; days?: number; by?: string[] } = {}): Promise<UnusualView> {
    const { at, days, by } = options;
    return this.read(["unusual"], { at, days, by: by?.join(",") }, options);
  }

  /**
   * When a user's counters run out at the present rate, or their usage at the end of the window.
   *
   * @example
   * const { data } = await client.admin.reports.forecast("u_42");
   */
  forecast(userId: string, options: CallOptions = {}): Promise<ForecastView> {
    return this.read(["forecast"], { userId }, options);
  }
}

/** The filter of a list of windows. */
export interface HistoryRequest {
  groupId?: string;
  from?: string;
  to?: string;
  key?: string;
  metadata?: Record<string, string>;
}

/** Closed windows and the present ones, for invoices. */
export class History extends Resource {
  /**
   * A user's windows with quota, usage and overage; `final` windows no longer change.
   *
   * @param options `from`, `to`: RFC 3339; selects the windows that overlap that time. `key` (the id of a key) and
   *   `metadata`: also the counters of these owners
   *
   * @example
   * const { data } = await client.admin.history.list("u_42", { groupId: "pro_images" });
   */
  list(userId: string, options: CallOptions & HistoryRequest = {}): Promise<Page<WindowView>> {
    const { groupId, from, to, key, metadata } = options;
    return this.read([], { userId, groupId, from, to, key, ...metadataQuery(metadata) }, options);
  }
}
