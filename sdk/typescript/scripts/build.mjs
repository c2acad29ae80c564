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
for (const project of ["tsconfig.build.json", "tsconfig.cjs.json"]) {
  execFileSync(process.execPath, [tsc, "-p", project], { cwd: folder, stdio: "inherit" });
}
// Says to Node and to TypeScript which of the two kinds the files are.
writeFileSync(join(folder, "dist/cjs/package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
