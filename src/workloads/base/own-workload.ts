/** Workloads of one's own: a TypeScript or JavaScript file that exports a generator function. */
import { existsSync, statSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MmulabError } from "../../../arch/isa/errors.ts";
import { GeneralProtectionFault, PageFault } from "../../../arch/isa/faults.ts";
import { PAUSE_RESCHED, PAUSE_TURN, type Pause } from "../../../arch/time/event-loop.ts";
import { WorkloadError, WorkloadFailure } from "../../input/errors.ts";
import type { WorkloadCode, WorkloadThread } from "./context.ts";
import { runThreads } from "./thread-workload.ts";
import type { Workload } from "./workload.ts";

/** What a workload's file exports by default: the code of each thread, one thread a CPU. */
export type WorkloadGenerator = (thread: WorkloadThread) => WorkloadCode;

const TYPESCRIPT = [".ts", ".mts", ".cts"];
const JAVASCRIPT = [".js", ".mjs", ".cjs"];
const EXAMPLE = "export default function* (thread) { ... }";

/** Whether a workload's name means a file. */
export function isWorkloadFile(name: string): boolean {
  return name.includes("/") || [...TYPESCRIPT, ...JAVASCRIPT].includes(extname(name));
}

/**
 * The workload in a file.
 * @throws WorkloadError when there is none
 */
export async function loadWorkloadFile(file: string): Promise<Workload> {
  const path = resolve(file);
  if (!existsSync(path)) throw new WorkloadError(file, "no such file");
  if (!statSync(path).isFile()) throw new WorkloadError(file, "is not a file");
  if (![...TYPESCRIPT, ...JAVASCRIPT].includes(extname(path))) {
    const endings = [...TYPESCRIPT, ...JAVASCRIPT].join(", ");
    throw new WorkloadError(file, `a workload is a TypeScript or JavaScript file (${endings})`);
  }
  const generator = generatorOf(file, await importFile(file, path));
  // Its failures are told with the line of the file, which the stack has.
  PageFault.capturesStack = true;
  const name = basename(path, extname(path));
  return {
    name,
    summary: file,
    run: (kernel, options) => runThreads(kernel, name, options, (thread) => checked(file, path, generator, thread)),
  };
}

async function importFile(file: string, path: string): Promise<Record<string, unknown>> {
  try {
    if (JAVASCRIPT.includes(extname(path))) return await import(pathToFileURL(path).href);
    const { createJiti } = await import("jiti");
    const jiti = createJiti(import.meta.url, { fsCache: false, interopDefault: false, alias: packageAliases() });
    return await jiti.import<Record<string, unknown>>(path);
  } catch (error) {
    throw new WorkloadError(file, `cannot be loaded: ${describeFailure(path, error)}`);
  }
}

/** `import ... from "mmulab"` in a workload means this very program, installed beside the workload or not. */
function packageAliases(): Record<string, string> {
  const entry = (name: string): string =>
    fileURLToPath(new URL(`../../../${name}/index${extname(import.meta.url)}`, import.meta.url));
  return { "mmulab/arch": entry("arch"), "mmulab/mm": entry("mm"), mmulab: entry("src") };
}

function generatorOf(file: string, module: Record<string, unknown>): WorkloadGenerator {
  const exported = module.default;
  const kind = Object.prototype.toString.call(exported);
  if (kind === "[object GeneratorFunction]") return exported as WorkloadGenerator;
  const names = Object.keys(module).filter((name) => name !== "__esModule" && name !== "module.exports");
  const what = exported === undefined ? exportsOf(names) : `its default export is ${describeKind(kind)}`;
  throw new WorkloadError(file, `is no workload: ${what}; expected ${EXAMPLE}`);
}

function exportsOf(names: readonly string[]): string {
  return names.length === 0 ? "it exports nothing" : `it has no default export (it exports ${names.join(", ")})`;
}

function describeKind(kind: string): string {
  const kinds: Readonly<Record<string, string>> = {
    "[object Function]": "an ordinary function, without the *",
    "[object AsyncFunction]": "an async function",
    "[object AsyncGeneratorFunction]": "an async generator function",
    "[object Generator]": "a generator that runs already, not the function",
  };
  return kinds[kind] ?? `of another kind (${kind.slice(8, -1)})`;
}

/** Passes a workload's pauses on; what it throws, and what is no pause, becomes one line that names its file. */
function* checked(file: string, path: string, generator: WorkloadGenerator, thread: WorkloadThread): WorkloadCode {
  let code: WorkloadCode | null = null;
  while (true) {
    let pause: Pause;
    try {
      code ??= generator(thread);
      const step = code.next();
      if (step.done) return;
      pause = step.value;
    } catch (error) {
      throw new WorkloadFailure(file, `failed on CPU ${thread.cpu}: ${describeFailure(path, error)}`);
    }
    if (!Number.isInteger(pause) || pause < PAUSE_TURN || pause > PAUSE_RESCHED) {
      throw new WorkloadFailure(file, `yielded ${String(pause)}; calls that may wait are made with yield*, not yield`);
    }
    yield pause;
  }
}

/** What was thrown and, where its stack says so, the line of the workload's file. */
function describeFailure(path: string, error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isFault = error instanceof PageFault || error instanceof GeneralProtectionFault;
  const name = isFault || error instanceof MmulabError ? "" : `${error.name}: `;
  const message = error.message.split("\n")[0].trim();
  const text = /^\w*Error: /.test(message) ? message : `${name}${message}`;
  const at = error.stack?.split("\n").find((line) => line.includes(path) && /:\d+:\d+\)?$/.test(line));
  const line = at === undefined ? null : /:(\d+):\d+\)?$/.exec(at);
  return line === null ? text : `${text} (line ${line[1]})`;
}
