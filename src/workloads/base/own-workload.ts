/** Workloads of one's own: a TypeScript or JavaScript file that exports a generator function. */
import { basename, extname, resolve } from "node:path";
import { PageFault } from "../../../arch/isa/faults.ts";
import { PAUSE_RESCHED, PAUSE_TURN, type Pause } from "../../../arch/time/event-loop.ts";
import { describeFailure, importOwnModule } from "../../files/own-module.ts";
import { WorkloadError, WorkloadFailure } from "../../input/errors.ts";
import type { WorkloadCode, WorkloadThread } from "./context.ts";
import { runThreads } from "./thread-workload.ts";
import type { Workload } from "./workload.ts";

/** What a workload's file exports by default: the code of each thread, one thread a CPU. */
export type WorkloadGenerator = (thread: WorkloadThread) => WorkloadCode;

const EXAMPLE = "export default function* (thread) { ... }";

/**
 * The workload in a file.
 * @throws WorkloadError when there is none
 */
export async function loadWorkloadFile(file: string): Promise<Workload> {
  const path = resolve(file);
  const generator = generatorOf(
    file,
    await importOwnModule(file, "workload", (reason) => new WorkloadError(file, reason)),
  );
  // Its failures are told with the line of the file, which the stack has.
  PageFault.capturesStack = true;
  const name = basename(path, extname(path));
  return {
    name,
    summary: file,
    run: (kernel, options) => runThreads(kernel, name, options, (thread) => checked(file, path, generator, thread)),
  };
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
