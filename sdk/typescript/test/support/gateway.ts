/** A real gateway process for a test file, and a world of its own in it for each test. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { type Client, type ClientOptions, createClient, type GroupBody, type PlanBody } from "../../src/index.js";
import { PATIENCE_MS } from "./timers.js";
import { eventually, within } from "./wait.js";

export const ROOT_KEY = "ak_sdk_typescript_test_0123456789abcdef";

/** The SDK's folder, wherever the compiled test lies. */
export const FOLDER = resolve(import.meta.dirname, "../../..");

export interface Gateway {
  url: string;
  stop: () => Promise<void>;
}

/** What a program that uses the package with its defaults is to import first. */
export const PATIENT_PROGRAM = join(import.meta.dirname, "patient.js");

/** Options of clients that no pause of the machine makes fail. */
export const PATIENT = { timeoutMs: PATIENCE_MS, deadlineMs: PATIENCE_MS };

function environment(dataDir: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("QUOTAGATE_"));
  return {
    ...Object.fromEntries(own),
    QUOTAGATE_BIND: "127.0.0.1:0",
    QUOTAGATE_DATA_DIR: dataDir,
    QUOTAGATE_ADMIN_KEY: ROOT_KEY,
    QUOTAGATE_REDIS_TIMEOUT_MS: String(PATIENCE_MS / 2),
    QUOTAGATE_WEBHOOK_ALLOW_PRIVATE: "1",
  };
}

/** The last lines of a gateway's log. */
const LINES = 40;

/** Kills the gateway and removes its data as soon as this process is gone, however it ends. */
const WATCHDOG = 'read -r ended || { kill "$1"; while kill -0 "$1"; do sleep 1; done; rm -rf "$2"; } 2>/dev/null';

/** Starts the binary and waits until it reports where it listens. */
async function startGateway(): Promise<Gateway> {
  const binary = process.env.QUOTAGATE_BIN ?? resolve(FOLDER, "../../target/debug/quotagate");
  const dataDir = mkdtempSync(join(tmpdir(), "quotagate-sdk-"));
  const child = spawn(binary, ["serve"], { env: environment(dataDir), stdio: ["ignore", "pipe", "pipe"] });
  const watchdog = spawn("/bin/sh", ["-c", WATCHDOG, "watchdog", String(child.pid), dataDir], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  const log: string[] = [];
  const keep = (line: string) => {
    log.push(line);
    if (log.length > LINES) log.shift();
  };
  createInterface({ input: child.stderr }).on("line", keep);
  const listening = new Promise<string>((found, failed) => {
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`${binary} ended with ${code} before it was ready`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      keep(line);
      const match = /listening on (http:\S+)/.exec(line);
      if (match) found(match[1]!);
    });
  });
  // A test file that hangs is ended so.
  process.once("SIGTERM", () => process.exit(1));
  process.once("exit", () => {
    if (!process.exitCode) return;
    const name = basename(process.argv[1] ?? "").replace(/\.test\.js$/, "");
    console.error(`The last lines of this file's gateway:\n${log.join("\n")}\nRun this file alone: sdk/typescript/test.sh tests ${name}`);
  });
  const url = await within(`${binary} to listen`, listening);
  child.removeAllListeners("exit");
  const stop = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await within("the gateway to end", ended);
    watchdog.stdin.end("ended\n");
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { url, stop };
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
  /** What a group's counter has used as soon as it holds nothing: settling may follow the end of the work. */
  settled: (userId: string, groupId?: string) => Promise<number>;
}

/** A new world with the plan `plan` of these groups. */
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
