/** A real gateway process for a test file, and a world of its own in it for each test. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { type Client, type ClientOptions, createClient, type GroupBody, type PlanBody } from "../../src/index.js";

export const ROOT_KEY = "ak_sdk_typescript_test_0123456789abcdef";

/** The SDK's folder, wherever the compiled test lies. */
export const FOLDER = resolve(import.meta.dirname, "../../..");

export interface Gateway {
  url: string;
  process: ChildProcess;
  stop: () => Promise<void>;
}

function environment(dataDir: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("QUOTAGATE_"));
  return {
    ...Object.fromEntries(own),
    QUOTAGATE_BIND: "127.0.0.1:0",
    QUOTAGATE_DATA_DIR: dataDir,
    QUOTAGATE_ADMIN_KEY: ROOT_KEY,
    QUOTAGATE_WEBHOOK_ALLOW_PRIVATE: "1",
  };
}

/** Starts the binary and waits until it tells where it listens. */
export async function startGateway(): Promise<Gateway> {
  const binary = process.env.QUOTAGATE_BIN ?? resolve(FOLDER, "../../target/debug/quotagate");
  const dataDir = mkdtempSync(join(tmpdir(), "quotagate-sdk-"));
  const child = spawn(binary, ["serve"], { env: environment(dataDir), stdio: ["ignore", "pipe", "ignore"] });
  const url = await new Promise<string>((found, failed) => {
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`${binary} ended with ${code} before it was ready`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const match = /listening on (http:\S+)/.exec(line);
      if (match) found(match[1]!);
    });
  });
  child.removeAllListeners("exit");
  // A test file that hangs is ended so; its gateway goes with it.
  process.once("SIGTERM", () => {
    child.kill("SIGTERM");
    process.exit(1);
  });
  const stop = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await ended;
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { url, process: child, stop };
}

let shared: Promise<Gateway> | undefined;

// Registered while the file loads: within a test it would belong to that test.
after(async () => (await shared)?.stop());

/** The gateway of this test file. */
export function gateway(): Promise<Gateway> {
  return (shared ??= startGateway());
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
  /** Another one, for instance behind a proxy. */
  connect: (options?: Partial<ClientOptions>) => Client;
  /** Puts a user on the plan. */
  user: (id: string, planId?: string) => Promise<string>;
  /** A group's counter now. */
  counter: (userId: string, groupId?: string) => Promise<{ used: number; held: number }>;
}

/** A new world with the plan `plan` of these groups. */
export async function world(groups: GroupBody[], plan: Partial<PlanBody> = {}): Promise<World> {
  const { url } = await gateway();
  const app = `app_${process.pid}_${(worlds += 1)}`;
  const root = createClient({ apiKey: ROOT_KEY, baseUrl: url, deadlineMs: 30_000, timeoutMs: 15_000 });
  await root.admin.apps.create({ id: app });
  const admin = createClient({ apiKey: ROOT_KEY, baseUrl: url, app, mode: "test/main", timeoutMs: 15_000 });
  await admin.admin.plans.put("plan", { ...plan, groups });
  const { key } = await admin.admin.keys.create({ kind: "secret", mode: "test", sandbox: "main" });
  assert(key);
  const connect = (options: Partial<ClientOptions> = {}) => createClient({ apiKey: key, baseUrl: url, timeoutMs: 15_000, ...options });
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
  return { app, url, admin, secretKey: key, client, connect, user, counter };
}
