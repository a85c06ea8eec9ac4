/** A step of `npm run build`: the command is the one that is bundled. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFile } from "./program-files.ts";

const COMMAND = "dist/src/cli.js";
const BUNDLE = "dist/command";
/**
 * The bundler makes variables of all that modules declare. V8 does not fold variables into the code (arch/fast-path/README.md, "Constants"): a
 * replay of references that miss took 1.4 times as long. So what a module takes apart of another's constants, and what has a
 * constant's name, is declared as a constant again. (Such a declaration is one line, and begins it.)
 */
const CONSTANT = /^var (?=\{|[A-Z][A-Z0-9_]* =)/gm;

for (const name of readdirSync(packageFile(BUNDLE), { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".js")) continue;
  const file = join(fileURLToPath(packageFile(BUNDLE)), name);
  writeFileSync(file, readFileSync(file, "utf8").replace(CONSTANT, "const "));
}

/** Node 22.8 and newer keep what V8 has compiled in the folder for temporary files: a short run then takes 0.85 of the time. */
const SOURCE = `#!/usr/bin/env node
import * as module from "node:module";
module.enableCompileCache?.();
await import("../command/src/cli.js");
`;

writeFileSync(packageFile(COMMAND), SOURCE);
rmSync(packageFile(`${COMMAND}.map`), { force: true });
