/** A workload of one's own out of what its module exports, with its mistakes told in one line each. */
import { PAUSE_RESCHED, PAUSE_TURN, type Pause } from "../../../arch/time/event-loop.ts";
import { describeFailure } from "../../input/describe-failure.ts";
import { WorkloadError, WorkloadFailure } from "../../input/errors.ts";
import { type ParameterSpec, type ParameterValues, parameterListProblem } from "../../input/parameters.ts";
import type { WorkloadCode, WorkloadThread } from "./context.ts";
import { threadWorkload } from "./thread-workload.ts";
import type { Workload } from "./workload.ts";

/** What a workload's file exports by default: the code of each thread, one thread a CPU. */
export type WorkloadGenerator = (thread: WorkloadThread, parameters: ParameterValues) => WorkloadCode;

const EXAMPLE = "export default function* (thread) { ... }";

/**
 * The workload that a module exports.
 * @param file its name, for messages
 * @param path how stacks name it
 * @throws WorkloadError when it exports none
 */
export function workloadOf(name: string, file: string, path: string, module: Record<string, unknown>): Workload {
  const generator = generatorOf(file, module);
  return threadWorkload({
    name,
    summary: file,
    parameters: parametersOf(file, module.parameters),
    setUp: (_, parameters) => parameters,
    thread: (thread, parameters) => checked(file, path, () => generator(thread, parameters), thread.cpu),
  });
}

function generatorOf(file: string, module: Record<string, unknown>): WorkloadGenerator {
  const exported = module.default;
  const kind = Object.prototype.toString.call(exported);
  if (kind === "[object GeneratorFunction]") return exported as WorkloadGenerator;
  const names = Object.keys(module).filter((name) => name !== "__esModule" && name !== "module.exports");
  const what = exported === undefined ? exportsOf(names) : `its default export is ${describeKind(kind)}`;
  throw new WorkloadError(file, `is no workload: ${what}; expected ${EXAMPLE}`);
}

/** The parameters that a module declares; none when it says nothing. @throws WorkloadError naming what is wrong */
function parametersOf(file: string, declared: unknown): readonly ParameterSpec[] {
  if (declared === undefined) return [];
  const problem = parameterListProblem(declared);
  if (problem !== null) throw new WorkloadError(file, `its export parameters is wrong: ${problem}`);
  return declared as readonly ParameterSpec[];
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
function* checked(file: string, path: string, start: () => WorkloadCode, cpu: number): WorkloadCode {
  let code: WorkloadCode | null = null;
  while (true) {
    let pause: Pause;
    try {
      code ??= start();
      const step = code.next();
      if (step.done) return;
      pause = step.value;
    } catch (error) {
      throw new WorkloadFailure(file, `failed on CPU ${cpu}: ${describeFailure(path, error)}`);
    }
    if (!Number.isInteger(pause) || pause < PAUSE_TURN || pause > PAUSE_RESCHED) {
      throw new WorkloadFailure(file, `yielded ${String(pause)}; calls that may wait are made with yield*, not yield`);
    }
    yield pause;
  }
}
