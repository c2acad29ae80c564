/** Starts a real gateway process. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { PATIENCE_MS } from "./timers.js";
import { within } from "./wait.js";

export const ROOT_KEY = "ak_sdk_typescript_test_0123456789abcdef";

/** The SDK's folder: compiled tests are in a folder within it. */
export const FOLDER = resolve(import.meta.dirname, "../../..");

export interface Gateway {
  url: string;
  /** The last lines of its log. */
  log: () => string;
  stop: () => Promise<void>;
}

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

const LOG_LINES = 40;

/** Stops the gateway and removes its data as soon as this process ends, for whatever reason. */
const WATCHDOG = 'read -r ended || { kill "$1"; while kill -0 "$1"; do sleep 1; done; rm -rf "$2"; } 2>/dev/null';

/** Starts the binary and waits until it reports its address. */
export async function startGateway(): Promise<Gateway> {
  const binary = process.env.QUOTAGATE_BIN ?? resolve(FOLDER, "../../target/debug/quotagate");
  const dataDir = mkdtempSync(join(tmpdir(), "quotagate-sdk-"));
  const child = spawn(binary, ["serve"], { env: environment(dataDir), stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > LOG_LINES) lines.shift();
  };
  createInterface({ input: child.stderr }).on("line", keep);
  const listening = new Promise<string>((found, failed) => {
    child.once("error", failed);
    child.once("exit", (code) => failed(new Error(`${binary} ended with ${code} before it was ready:\n${lines.join("\n")}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      keep(line);
      const match = /listening on (http:\S+)/.exec(line);
      if (match) found(match[1]!);
    });
  });
  // Without a process there is nothing to watch, and the error below ends this one.
  const watchdog = child.pid === undefined ? undefined : spawn("/bin/sh", ["-c", WATCHDOG, "watchdog", String(child.pid), dataDir], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  const url = await within(`${binary} to listen`, listening);
  child.removeAllListeners("exit");
  const stop = async () => {
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await within("the gateway to end", ended);
    watchdog?.stdin.end("ended\n");
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { url, log: () => lines.join("\n"), stop };
}
