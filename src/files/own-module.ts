/** Code of one's own: a TypeScript or JavaScript file, loaded into this program. */
import { existsSync, statSync } from "node:fs";
import { extname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describeFailure } from "../input/describe-failure.ts";
import { programModule } from "./program-files.ts";

const TYPESCRIPT = [".ts", ".mts", ".cts"];
const JAVASCRIPT = [".js", ".mjs", ".cjs"];

/** Whether a name means a file with code rather than something that comes with the program. */
export function isModuleFile(name: string): boolean {
  return name.includes("/") || [...TYPESCRIPT, ...JAVASCRIPT].includes(extname(name));
}

/**
 * What a file exports.
 * @param what it should be: `workload`
 * @param fail makes the error of a reason in one line
 * @throws what `fail` makes, when there is no such file, or it cannot be loaded
 */
export async function importOwnModule(
  file: string,
  what: string,
  fail: (reason: string) => Error,
): Promise<Record<string, unknown>> {
  const path = resolve(file);
  if (!existsSync(path)) throw fail("no such file");
  if (!statSync(path).isFile()) throw fail("is not a file");
  if (![...TYPESCRIPT, ...JAVASCRIPT].includes(extname(path))) {
    const endings = [...TYPESCRIPT, ...JAVASCRIPT].join(", ");
    throw fail(`a ${what} is a TypeScript or JavaScript file (${endings})`);
  }
  try {
    if (JAVASCRIPT.includes(extname(path))) return await import(pathToFileURL(path).href);
    const { createJiti } = await import("jiti");
    const jiti = createJiti(import.meta.url, { fsCache: false, interopDefault: false, alias: packageAliases() });
    return await jiti.import<Record<string, unknown>>(path);
  } catch (error) {
    throw fail(`cannot be loaded: ${describeFailure(path, error)}`);
  }
}

/** `import ... from "mmulab"` in such a file means this very program, installed beside the file or not. */
function packageAliases(): Record<string, string> {
  const entry = (path: string): string => fileURLToPath(programModule(path));
  return {
    "mmulab/arch": entry("arch/index"),
    "mmulab/kernel": entry("src/kernel"),
    "mmulab/mm": entry("mm/index"),
    mmulab: entry("src/index"),
  };
}
