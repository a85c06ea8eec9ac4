/** `mmulab replay --ftrace`: vmalloc events that any kernel traced. */
import { FLUSH_POLICIES, type FlushPolicy } from "../../mm/index.ts";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { suggestion } from "../command-line/suggestion.ts";
import { inputSizeBytes } from "../files/byte-chunks.ts";
import { replayFtrace } from "../traces/ftrace-replay.ts";
import { renderFtraceReport } from "../traces/ftrace-report-text.ts";
import { findPreset } from "../workloads/presets.ts";

/** Options of the command that concern such a trace. */
export interface FtraceCommandOptions {
  readonly preset: string;
  readonly memory: number;
  readonly cpus?: number;
  readonly policy: string;
  readonly lazyMax?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MEBIBYTE = 2 ** 20;

/** Names of all flush policies. */
export function policyNames(): string[] {
  return FLUSH_POLICIES.map((policy) => policy.name);
}

/**
 * The flush policy called `name`.
 * @throws UsageError when there is none
 */
export function findPolicy(name: string): FlushPolicy {
  const found = FLUSH_POLICIES.find((policy) => policy.name === name);
  if (found !== undefined) return found;
  const names = policyNames();
  throw new UsageError(`unknown flush policy '${name}'${suggestion(name, names)}; there are ${names.join(", ")}`);
}

/** Replays `file` and prints what its options ask for. */
export async function replayFtraceFile(file: string, options: FtraceCommandOptions): Promise<number> {
  const preset = findPreset(options.preset);
  const policy = findPolicy(options.policy);
  const total = Math.ceil(inputSizeBytes(file) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0);
  const report = await replayFtrace(file, {
    preset,
    memoryBytes: options.memory,
    policy,
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    ...(options.lazyMax === undefined ? {} : { lazyMaxPages: options.lazyMax }),
    onProgress: (bytes, events) => progress.update(Math.floor(bytes / MEBIBYTE), `MiB, ${events} events`),
  }).finally(() => progress.clear());
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!options.quiet) process.stdout.write(renderFtraceReport(report));
  return EXIT_OK;
}
