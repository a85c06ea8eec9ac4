/**
 * The command in few files (`npm run build:command`): its start is mostly the loading of files. What every command line needs is one file,
 * what `mmulab run` needs beside that is a second; all else is loaded by who asks for it. A start of `run` takes three quarters of what it
 * takes in files that are cut wherever two commands differ.
 *
 * Declarations stay as they are written: V8 folds constants into the code, but no variables (arch/fast-path/README.md, "Constants"), and
 * bundlers that make variables of them cost replays 1.4 times the time.
 */
import { join } from "node:path";
import { type ChunkingContext, defineConfig, type OutputOptions, type RolldownOptions } from "rolldown";

const START = "src/cli.ts";
/** The commands' entries, those of threads, and what the package exports, so that files of one's own share their modules with the command. */
const ENTRIES = [
  START,
  "src/index.ts",
  "src/kernel.ts",
  "arch/index.ts",
  "mm/index.ts",
  "src/explore/worker.ts",
  "src/sweep/worker.ts",
];
/** A thread that a replay starts, and waits for: in a file of its own, since of what `mmulab run` needs it needs a twentieth. */
const READER = "src/references/reader-worker.ts";
const RUN = "src/commands/run.ts";

/** What is in the files that most starts load, by file. */
let parts: readonly { readonly name: string; readonly modules: ReadonlySet<string> }[] = [];

/** All modules that this one imports, directly or not, but for what is imported when it is asked for. */
function importedBy(file: string, context: ChunkingContext): Set<string> {
  const modules = new Set([join(import.meta.dirname, file)]);
  for (const id of modules) for (const each of context.getModuleInfo(id)?.importedIds ?? []) modules.add(each);
  return modules;
}

/** The file that a module is put into; null: wherever the bundler wants it. */
function partOf(id: string, context: ChunkingContext): string | null {
  if (parts.length === 0) {
    parts = [
      { name: "start", modules: importedBy(START, context) },
      { name: "run", modules: importedBy(RUN, context) },
    ];
  }
  // It waits for the modules of commands, which import what is in the first part: it has to be in a file of its own.
  if (id === join(import.meta.dirname, START)) return null;
  return parts.find(({ modules }) => modules.has(id))?.name ?? null;
}

const common = {
  platform: "node",
  external: /^[^./]/,
  tsconfig: "tsconfig.json",
  logLevel: "warn",
} as const satisfies RolldownOptions;

const output = {
  dir: "dist/command",
  format: "esm",
  sourcemap: true,
  entryFileNames: "[name].js",
  chunkFileNames: "src/chunks/[name]-[hash].js",
  minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
} as const satisfies OutputOptions;

export default defineConfig([
  {
    ...common,
    input: byName(ENTRIES),
    preserveEntrySignatures: "allow-extension",
    checks: { ineffectiveDynamicImport: false },
    output: {
      ...output,
      cleanDir: true,
      codeSplitting: { includeDependenciesRecursively: false, groups: [{ debugName: "starts", name: partOf }] },
    },
  },
  { ...common, input: byName([READER]), output },
]);

function byName(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(entries.map((file) => [file.slice(0, -".ts".length), file]));
}
