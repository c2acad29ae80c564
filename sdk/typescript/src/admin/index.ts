/** The `admin` part of a client: calls for operators. */
import type { Transport } from "../http/transport.js";
import { AppSettings, Apps, Configurations } from "./apps.js";
import { Approvals } from "./approvals.js";
import { AuditLog } from "./audit.js";
import { Counters } from "./counters.js";
import { Explain, Whatif } from "./drafts.js";
import { Events } from "./events.js";
import { Keys } from "./keys.js";
import { Nodes, Sandboxes } from "./nodes.js";
import { Plans, Policies } from "./plans.js";
import { History, Reports } from "./reports.js";
import { Reservations } from "./reservations.js";
import { Subscriptions } from "./subscriptions.js";
import { TestClock } from "./test-clock.js";
import { Grants, Users } from "./users.js";
import { Alerts, Webhooks } from "./webhooks.js";

/** Needs an `ak_` key with the right role. Uses the client's `mode` and `app`. */
export class Admin {
  readonly plans: Plans;
  readonly policies: Policies;
  readonly keys: Keys;
  /** Needs the root admin key. */
  readonly apps: Apps;
  /** The settings of the client's app. */
  readonly app: AppSettings;
  readonly configuration: Configurations;
  readonly users: Users;
  readonly grants: Grants;
  readonly counters: Counters;
  readonly audit: AuditLog;
  readonly approvals: Approvals;
  readonly webhooks: Webhooks;
  readonly alerts: Alerts;
  readonly testClock: TestClock;
  readonly subscriptions: Subscriptions;
  readonly reservations: Reservations;
  readonly events: Events;
  readonly reports: Reports;
  readonly history: History;
  readonly explain: Explain;
  readonly whatif: Whatif;
  readonly nodes: Nodes;
  readonly sandboxes: Sandboxes;

  /** @internal */
  constructor(transport: Transport) {
    this.plans = new Plans(transport, "plans");
    this.policies = new Policies(transport, "policies");
    this.keys = new Keys(transport, "keys");
    this.apps = new Apps(transport, "apps");
    this.app = new AppSettings(transport, "app");
    this.configuration = new Configurations(transport, "configuration");
    this.users = new Users(transport, "users");
    this.grants = new Grants(transport, "grants");
    this.counters = new Counters(transport, "counters");
    this.audit = new AuditLog(transport, "audit");
    this.approvals = new Approvals(transport, "approvals");
    this.webhooks = new Webhooks(transport, "webhooks");
    this.alerts = new Alerts(transport, "alerts");
    this.testClock = new TestClock(transport, "test-clock");
    this.subscriptions = new Subscriptions(transport, "subscriptions");
    this.reservations = new Reservations(transport, "reservations");
    this.events = new Events(transport, "events");
    this.reports = new Reports(transport, "reports");
    this.history = new History(transport, "usage/history");
    this.explain = new Explain(transport, "explain");
    this.whatif = new Whatif(transport, "whatif");
    this.nodes = new Nodes(transport, "nodes");
    this.sandboxes = new Sandboxes(transport, "sandboxes");
  }
}
