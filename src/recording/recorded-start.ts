/** The kernel with which a replay begins: booted, brought into the recorded state, and compared with every line of it. */
import { MmulabError } from "../../arch/isa/errors.ts";
import { RestoreError } from "../../mm/index.ts";
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { compareFinalState } from "./final-state.ts";
import { headerProblem } from "./header-check.ts";
import type { StartItem } from "./recording-parser.ts";
import { bootRecordedKernel, captureState, isRecordingsFault } from "./replay-kernel.ts";

/**
 * Boots the recorded kernel.
 * @param file the recording's name, for messages
 * @throws InputFileError at the line that contradicts another one
 */
export function startRecordedKernel(file: string, start: StartItem): Kernel {
  const { header, state, lines } = start;
  const problem = headerProblem(header);
  if (problem !== null) throw new InputFileError(file, 1, `header: ${problem}`);
  const kernel = restored(file, start);
  const [difference] = compareFinalState(state, captureState(kernel), kernel.mm.version);
  if (difference !== undefined) {
    const { part, expected, actual } = difference;
    const says = expected === undefined ? `lacks the ${part} "${actual}"` : `says ${part} "${expected}"`;
    const others = expected === undefined ? "" : `, the rest of it ${actual === undefined ? "nothing" : `"${actual}"`}`;
    throw new InputFileError(file, lines.ofPart(part, expected), `the initial state ${says}${others}`);
  }
  const [finding] = kernel.verify();
  if (finding !== undefined) throw new InputFileError(file, lines.end, `the initial state is impossible: ${finding}`);
  return kernel;
}

function restored(file: string, { header, state, lines }: StartItem): Kernel {
  try {
    return bootRecordedKernel(header, state, lines);
  } catch (error) {
    if (!isRecordingsFault(error)) throw error;
    const line = error instanceof RestoreError ? lines.ofRecord(error.record) : lineOf(error, lines.end);
    throw new InputFileError(file, line, `the initial state is impossible: ${error.message}`);
  }
}

/** The boot refuses constants of the header, in line 1; for anything else the whole state is to blame. */
function lineOf(error: Error, end: number): number {
  return error instanceof MmulabError && error.code === "BAD_VALUE" ? 1 : end;
}
