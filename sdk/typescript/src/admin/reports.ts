/** Sums of what happened, and what comes of it. */
import type { CallOptions } from "../call-options.js";
import type { ForecastView, LimitsView, ReportView, UnusualView, WindowView } from "../models.js";
import { metadataQuery, type Page, Resource } from "./resource.js";

/** What a report is of. */
export interface ReportRequest {
  /** Days of UTC, both included; default today and the 29 days before. */
  from?: string;
  to?: string;
  /** How lines are told apart by time; default `total`. */
  period?: "day" | "week" | "month" | "total";
  /** Up to four of `group`, `user`, `event`, `key`, `metadata.<name>`. */
  by?: string[];
  /** Only these; a name or a glob. */
  event?: string;
  userId?: string;
  keyId?: string;
  groupId?: string;
  metadata?: Record<string, string>;
  /** The lines with the most of it first, such as `calls` or `cost`. */
  top?: string;
  /** 1 to 1,000 lines, default 100. */
  limit?: number;
  cursor?: string;
}

/** Reports. Ratios and CSV are parameters of `GET reports/usage`; here are its lines, from which they follow. */
export class Reports extends Resource {
  /**
   * Calls, denials, charges, cost and more of a time.
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
   * The counters of anybody that have used three quarters of their limit, and those that have used all of it.
   *
   * @param options `limit`: 1 to 200 of each kind, the fullest first
   *
   * @example
   * const { near, atLimit } = await client.admin.reports.limits({ limit: 10 });
   */
  limits(options: CallOptions & { limit?: number } = {}): Promise<LimitsView> {
    return this.read(["limits"], { limit: options.limit }, options);
  }

  /**
   * What stands out on a day against the days before.
   *
   * @param options `at`: the day, default yesterday; `days`: how many before it are compared
   *
   * @example
   * const { data } = await client.admin.reports.unusual({ by: ["group"] });
   */
  unusual(options: CallOptions & { at?: string; days?: number; by?: string[] } = {}): Promise<UnusualView> {
    const { at, days, by } = options;
    return this.read(["unusual"], { at, days, by: by?.join(",") }, options);
  }

  /**
   * Where a user's counters lead: when they run out at the present rate, or what they will have used.
   *
   * @example
   * const { data } = await client.admin.reports.forecast("u_42");
   */
  forecast(userId: string, options: CallOptions = {}): Promise<ForecastView> {
    return this.read(["forecast"], { userId }, options);
  }
}

/** Closed windows and the present ones, as an invoice needs them. */
export class History extends Resource {
  /**
   * A user's windows with quota, overage and whether they are final.
   *
   * @param options `from`, `to`: RFC 3339, windows that overlap that time
   *
   * @example
   * const { data } = await client.admin.history.list("u_42", { groupId: "pro_images" });
   */
  list(userId: string, options: CallOptions & { groupId?: string; from?: string; to?: string } = {}): Promise<Page<WindowView>> {
    const { groupId, from, to } = options;
    return this.read([], { userId, groupId, from, to }, options);
  }
}
