// Builds dist: ES modules, CommonJS, and types for both.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");

rmSync(join(folder, "dist"), { recursive: true, force: true });
// The second build has the same sources and types, so it needs no second check.
for (const options of [["-p", "tsconfig.build.json"], ["-p", "tsconfig.cjs.json", "--noCheck"]]) {
  execFileSync(process.execPath, [tsc, ...options], { cwd: folder, stdio: "inherit" });
}
// Marks the files as CommonJS, for Node and for TypeScript.
writeFileSync(join(folder, "dist/cjs/package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
