// Writes each TypeScript block of README.md into a file of .readme, for the type check: see tsconfig.examples.json.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The blocks of a README, by the name of their file. */
export function blocksOf(readme) {
  const blocks = new Map();
  let headline = "";
  for (const [, title, code] of readme.matchAll(/^#+ (.+)$|^```ts\n([^]*?)^```$/gm)) {
    if (title) headline = title.toLowerCase().replace(/\W+/g, "-");
    else blocks.set(`${String(blocks.size + 1).padStart(2, "0")}-${headline}.ts`, code);
  }
  return blocks;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = here("../.readme");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  // The export makes a module of a block without imports.
  for (const [name, code] of blocksOf(readFileSync(here("../README.md"), "utf8"))) writeFileSync(`${folder}/${name}`, `${code}export {};\n`);
}
