/** Runs test files with one gateway for all of them: node .build/test/support/run.js FILES… */
import { spawn } from "node:child_process";
import { startGateway } from "./gateway-process.js";

const gateway = await startGateway();
// Every wait in the tests has its own deadline of two minutes.
const options = ["--test", "--test-concurrency=2", "--test-timeout=900000", "--test-reporter=spec"];
const env = { ...process.env, QUOTAGATE_TEST_GATEWAY: gateway.url };
const tests = spawn(process.execPath, [...options, ...process.argv.slice(2)], { env, stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => tests.kill(signal));
const code = await new Promise<number | null>((ended) => tests.once("exit", ended));
if (code !== 0) console.error(`The last lines of the gateway's log:\n${gateway.log()}`);
await gateway.stop();
process.exitCode = code ?? 1;
