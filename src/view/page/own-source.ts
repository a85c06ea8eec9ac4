/**
 * Workloads that somebody writes in the page: TypeScript whose types are taken away, made a function and run. What it imports from
 * `mmulab`, `mmulab/kernel`, `mmulab/arch` and `mmulab/mm` is this very program.
 */
import { transform } from "sucrase";
import { PageFault } from "../../../arch/isa/faults.ts";
import { describeFailure } from "../../input/describe-failure.ts";
import { WorkloadError } from "../../input/errors.ts";
import { Kernel } from "../../machine/kernel.ts";
import { workloadOf } from "../../workloads/base/checked-workload.ts";
import { WorkloadThread } from "../../workloads/base/context.ts";
import type { Workload } from "../../workloads/base/workload.ts";
import * as arch from "./importable/arch.ts";
import * as kernel from "./importable/kernel.ts";
import * as mm from "./importable/mm.ts";

/** What can be imported. */
const MODULES: Readonly<Record<string, object>> = {
  mmulab: { ...arch, ...mm, ...kernel },
  "mmulab/kernel": kernel,
  "mmulab/arch": arch,
  "mmulab/mm": mm,
};

/**
 * The workload that TypeScript source exports by default.
 * @param file what it is called in messages
 * @throws WorkloadError with the line of a mistake
 */
export function sourceWorkload(file: string, source: string): Workload {
  const exported: Record<string, unknown> = {};
  const load = (name: string): object => {
    if (Object.hasOwn(MODULES, name)) return MODULES[name];
    throw new TypeError(`there is no module '${name}' here; there are ${Object.keys(MODULES).join(", ")}`);
  };
  try {
    functionOf(file, javaScriptOf(file, source))(load, exported);
  } catch (error) {
    if (error instanceof WorkloadError) throw error;
    throw new WorkloadError(file, `cannot be loaded: ${describeFailure(file, error)}`);
  }
  PageFault.capturesStack = true;
  return workloadOf(file, file, file, exported);
}

/** The source without its types, its imports and exports as calls; each line is where it was. */
function javaScriptOf(file: string, source: string): string {
  try {
    return transform(source, { transforms: ["typescript", "imports"], filePath: file, disableESTransforms: true }).code;
  } catch (error) {
    // `Error transforming workload.ts: Unexpected token (3:5)`.
    const message = error instanceof Error ? error.message : String(error);
    const [, what, line] = /(?:^Error transforming [^:]*: )?(.*?) \((\d+):\d+\)$/.exec(message) ?? [null, message, "1"];
    throw new WorkloadError(file, `is not valid TypeScript: ${what} (line ${line})`);
  }
}

type ModuleFunction = (require: (name: string) => object, exports: Record<string, unknown>) => void;

/** A module's code as a function that stacks name as the file, with the file's own lines. */
function functionOf(file: string, code: string): ModuleFunction {
  const text = `(function (require, exports) {${code}\n})\n//# sourceURL=${file}`;
  // biome-ignore lint/security/noGlobalEval: running what the person at the page wrote is what this is for.
  // biome-ignore lint/complexity/noCommaOperator: an indirect call, so that the code sees none of this module's names.
  return (0, eval)(text) as ModuleFunction;
}

/** Names that an editor completes, by what stands before the point; nothing for what can be imported. */
export interface Completions {
  readonly thread: readonly string[];
  readonly kernel: readonly string[];
  readonly imports: readonly string[];
}

/** What there is to complete: the members of the thread that a workload is given and of its kernel, and what can be imported. */
export function completions(): Completions {
  const methods = (prototype: object): string[] =>
    Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor");
  return {
    thread: [...methods(WorkloadThread.prototype), "kernel", "cpu", "operations", "random"].sort(),
    kernel: [...methods(Kernel.prototype), "machine", "vm", "mm", "pages", "tables", "log", "faults"].sort(),
    imports: Object.keys(MODULES.mmulab).sort(),
  };
}
