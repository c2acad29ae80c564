/** The client of the quotagate quota gateway: reserve, commit, release. */
export { Client, createClient } from "./client.js";
export type { AnswerOf, BatchResult, BatchResults, Operation } from "./batch.js";
export {
  ApprovalRequired,
  CallTooLarge,
  Denied,
  GatewayUnavailable,
  LimitReached,
  MissingScope,
  NotSubscribed,
  QuotagateError,
  type QuotagateErrorInit,
  UncoveredEvent,
  UnmatchedEvent,
  UserBlocked,
} from "./errors.js";
export type { ClientOptions, Fetch, OnUnavailable } from "./options.js";
export type {
  CallOptions,
  CanUseOptions,
  CommitOptions,
  ExtendOptions,
  Fit,
  ItemFigures,
  ReleaseOptions,
  ReserveOptions,
  TrackOptions,
  UsageOptions,
  WatchOptions,
  WriteOptions,
} from "./call-options.js";
export type {
  CanUse,
  Counter,
  Decision,
  DenialReason,
  DeniedBy,
  Fallback,
  Fitted,
  Item,
  Metadata,
  OnLimit,
  Plan,
  Quantity,
  Settlement,
  SettlementStatus,
  Subscription,
  Tracked,
  Usage,
} from "./results.js";
export { Reservation, type ReservationRequest } from "./reservation/reservation.js";
export type { Work } from "./reservation/run.js";
export type { StartedReservation } from "./reservation/start.js";
export type { MeteredStream, StreamOptions, StreamSource } from "./reservation/stream.js";
export type { Figures } from "./reservation/reported-usage.js";
export type { Repeatable, Undelivered, UndeliveredWork } from "./handed-over.js";
export { rateLimitHeaders } from "./rate-limit-headers.js";
export { userToken } from "./user-token.js";
export type { Admin } from "./admin/index.js";
export type { CreditFilter, Credits } from "./credits.js";
export type { Estimates, EstimateOptions } from "./estimates.js";
export type { Limits, OwnerScope } from "./limits.js";
export type { ListOptions, Page, VersionedOptions } from "./admin/resource.js";
export type { ApprovalFilter } from "./admin/approvals.js";
export type { ApplyOptions } from "./admin/apps.js";
export type { AuditFilter } from "./admin/audit.js";
export type { EventFilter, EventListFilter } from "./admin/events.js";
export type { HistoryRequest, ReportRequest } from "./admin/reports.js";
export type { UserFilter } from "./admin/users.js";
export type * from "./models.js";
