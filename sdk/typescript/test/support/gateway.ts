/** The gateway of a test file, and an app with a plan and keys for each test. */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { after } from "node:test";
import { type Client, type ClientOptions, createClient, type GroupBody, type PlanBody } from "../../src/index.js";
import { FOLDER, type Gateway, ROOT_KEY, startGateway } from "./gateway-process.js";
import { PATIENCE_MS } from "./timers.js";
import { eventually } from "./wait.js";

export { FOLDER, ROOT_KEY };

/** A program that uses the package with its defaults has to import this first. */
export const PATIENT_PROGRAM = join(import.meta.dirname, "patient.js");

/** Options of clients that do not fail when the machine is slow. */
export const PATIENT = { timeoutMs: PATIENCE_MS, deadlineMs: PATIENCE_MS };

// A test file that hangs is ended with this signal.
process.once("SIGTERM", () => process.exit(1));

/** The gateway of run.ts, which all test files share, or a new one. */
async function sharedOrNew(): Promise<Gateway> {
  const url = process.env.QUOTAGATE_TEST_GATEWAY;
  if (url) return { url, log: () => "", stop: async () => {} };
  const started = await startGateway();
  process.once("exit", () => {
    if (process.exitCode) console.error(`The last lines of the gateway's log:\n${started.log()}`);
  });
  return started;
}

process.once("exit", () => {
  const name = basename(process.argv[1] ?? "").replace(/\.test\.js$/, "");
  if (process.exitCode) console.error(`Run this file alone: sdk/typescript/test.sh tests ${name}`);
});

let shared: Promise<Gateway> | undefined;

// Registered while the file loads: within a test it would run after that test.
after(async () => (await shared)?.stop());

/** The gateway for this test file. */
export function gateway(): Promise<Gateway> {
  return (shared ??= sharedOrNew());
}

/** A monthly calendar group. */
export function group(id: string, quota: number | null, event: string, more: Partial<GroupBody> = {}): GroupBody {
  return { id, unit: "count", quota, periodType: "monthly", periodAnchor: "calendar", matches: [{ event }], ...more };
}

let worlds = 0;

/** An app with one plan, a sandbox, and keys for it. */
export interface World {
  app: string;
  url: string;
  /** An `ak_` client in the sandbox. */
  admin: Client;
  secretKey: string;
  /** A client with the secret key. */
  client: Client;
  /** Another client with the secret key, for example behind a proxy. */
  connect: (options?: Partial<ClientOptions>) => Client;
  /** Puts a user on the plan. */
  user: (id: string, planId?: string) => Promise<string>;
  /** A group's counter now. */
  counter: (userId: string, groupId?: string) => Promise<{ used: number; held: number }>;
  /** Waits until nothing is held, since settling may follow the end of the work. Returns the used amount. */
  settled: (userId: string, groupId?: string) => Promise<number>;
}

/** Creates an app whose plan `plan` has these groups. */
export async function world(groups: GroupBody[], plan: Partial<PlanBody> = {}): Promise<World> {
  const { url } = await gateway();
  const app = `app_${process.pid}_${(worlds += 1)}`;
  const root = createClient({ apiKey: ROOT_KEY, baseUrl: url, ...PATIENT });
  await root.admin.apps.create({ id: app });
  const admin = createClient({ apiKey: ROOT_KEY, baseUrl: url, app, mode: "test/main", ...PATIENT });
  await admin.admin.plans.put("plan", { ...plan, groups });
  const { key } = await admin.admin.keys.create({ kind: "secret", mode: "test", sandbox: "main" });
  assert(key);
  const connect = (options: Partial<ClientOptions> = {}) => createClient({ apiKey: key, baseUrl: url, ...PATIENT, ...options });
  const client = connect();
  const user = async (id: string, planId = "plan") => {
    await client.upsertSubscription({ userId: id, planId });
    return id;
  };
  const counter = async (userId: string, groupId = groups[0]!.id) => {
    const found = (await client.usage(userId)).counters.find((one) => one.groupId === groupId);
    assert(found, `no counter ${groupId}`);
    return { used: found.used, held: found.held };
  };
  const settled = (userId: string, groupId?: string) =>
    eventually(`nothing to be held of ${groupId ?? groups[0]!.id}`, async () => {
      const { used, held } = await counter(userId, groupId);
      return held === 0 ? used : undefined;
    });
  return { app, url, admin, secretKey: key, client, connect, user, counter, settled };
}
