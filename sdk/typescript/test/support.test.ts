/** The tools of the tests. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { eventually, within } from "./support/wait.js";

test("a gateway ends and its data is removed when its process is killed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "qg-killed-"));
  try {
    const program = `
      import { gateway } from ${JSON.stringify(join(import.meta.dirname, "support/gateway.js"))};
      await gateway();
      process.kill(process.pid, "SIGKILL");`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], { env: { ...process.env, TMPDIR: folder }, stdio: ["ignore", "ignore", "inherit"] });
    const signal = await within("the process to be killed", new Promise((ended) => child.once("exit", (_, signal) => ended(signal))));
    assert.equal(signal, "SIGKILL");
    await eventually("the gateway to end", () => (readdirSync(folder).length === 0 ? true : undefined));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
