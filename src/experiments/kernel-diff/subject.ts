/** What is run on both kernels: a workload, a trace, or the calls of a recording. */
import type { KernelVersion } from "../../../mm/index.ts";
import { readWholeLines } from "../../files/whole-file.ts";
import { UnknownNameError, ValueError } from "../../input/errors.ts";
import { parseParameters } from "../../input/parameters.ts";
import { suggestion } from "../../input/suggestion.ts";
import type { Kernel } from "../../machine/kernel.ts";
import type { RecordingItem } from "../../recording/recording-parser.ts";
import { ReplayCalls } from "../../recording/replay-calls.ts";
import { alignClocks, recordedMachine } from "../../recording/replay-kernel.ts";
import { KeptTrace } from "../../traces/ftrace-replay.ts";
import { findWorkload, WORKLOADS } from "../../workloads/index.ts";
import type { ExperimentContext } from "../base/experiment.ts";
import { RunWatcher, type WatchedRun } from "./watched-run.ts";

/** Most of a trace that is kept: it is replayed once for each entry that differs. */
const TRACE_BYTES_MAX = 2 ** 29;
/** Memory of the machine on which a trace is replayed. */
const TRACE_MEMORY_BYTES = 2 ** 36;

/** Its schemas are as much to load as all the rest of an experiment: it is there once `loadParser` is done. */
let recordingParser: typeof import("../../recording/recording-parser.ts") | null = null;

/** Loads the parser of recordings. */
export async function loadParser(): Promise<void> {
  recordingParser = await import("../../recording/recording-parser.ts");
}

/** Runs the same once more, with CPU 0 some cycles late. */
export type Subject = (version: KernelVersion, lateCycles: number, label: string) => WatchedRun;

/** What the parameters ask for. @throws InputFileError, ValueError, UnknownNameError */
export function subjectOf(context: ExperimentContext): Subject {
  const { parameters } = context;
  const [ftrace, recording] = [parameters.text("ftrace"), parameters.text("recording")];
  if (ftrace !== "" && recording !== "")
    throw new ValueError(
      "--ftrace",
      ftrace,
      "no --recording beside it",
      "--ftrace and --recording: expected one of them",
    );
  if (ftrace !== "") return traceSubject(context, ftrace);
  return recording === "" ? workloadSubject(context) : recordingSubject(context, recording);
}

function workloadSubject({ parameters, seed, boot }: ExperimentContext): Subject {
  const name = parameters.text("workload");
  const names = WORKLOADS.map((workload) => workload.name);
  if (!names.includes(name)) {
    const line = `--workload: unknown workload '${name}'${suggestion(name, names)}; there are ${names.join(", ")}`;
    throw new UnknownNameError(line, name, names);
  }
  const workload = findWorkload(name);
  const specs = workload.parameters ?? [];
  const words = parameters
    .text("parameters")
    .split(/\s+/)
    .filter((word) => word !== "");
  const values = parseParameters(name, specs, words);
  return (version, lateCycles, label) => {
    const kernel = boot(parameters.number("cpus"), label, { kernel: version });
    const watcher = watch(kernel, lateCycles);
    const operations = parameters.number("ops");
    workload.run(kernel, { operations, seed, ...(specs.length > 0 ? { parameters: values } : {}) });
    return watcher.seen();
  };
}

function traceSubject({ preset, settings, bootAlone, onKernel }: ExperimentContext, file: string): Subject {
  const trace = new KeptTrace(file, readWholeLines(file, TRACE_BYTES_MAX));
  return (version, lateCycles, label) => {
    let watcher: RunWatcher | null = null;
    trace.replay({
      preset,
      memoryBytes: TRACE_MEMORY_BYTES,
      settings,
      version,
      boot: bootAlone,
      followsOwnRules: true,
      onKernel: (kernel) => {
        onKernel(kernel, label);
        watcher = watch(kernel, lateCycles);
      },
    });
    if (watcher === null) throw new Error("a trace was replayed without a kernel");
    return (watcher as RunWatcher).seen();
  };
}

/** The calls alone: a state that one version left is none of another, so that they begin in a kernel that has just been booted. */
function recordingSubject({ boot }: ExperimentContext, file: string): Subject {
  if (recordingParser === null) throw new Error("loadParser comes before a recording");
  const parser = new recordingParser.RecordingParser(file, false);
  const lines = readWholeLines(file, TRACE_BYTES_MAX);
  const items = lines.flatMap((line, i): RecordingItem[] => {
    const item = i === lines.length - 1 && line === "" ? null : parser.feed(line, i + 1);
    return item === null || item.kind === "running" ? [] : [item];
  });
  parser.finish();
  return (version, lateCycles, label) => {
    const [start] = items;
    if (start?.kind !== "start") throw new Error(`${file} was read without its start`);
    const { cpus = 1, ...machine } = recordedMachine(start.header);
    const kernel = boot(cpus, label, { ...machine, kernel: version });
    kernel.currentCpu = start.header.pinned_cpu;
    const watcher = watch(kernel, lateCycles);
    const calls = new ReplayCalls(kernel);
    for (const item of items) {
      if (item.kind === "call") calls.make(item.call);
      else if (item.kind === "migrate") kernel.currentCpu = item.cpu;
      else if (item.kind === "wait") {
        alignClocks(kernel);
        kernel.runUntilIdle();
      }
    }
    return watcher.seen();
  };
}

function watch(kernel: Kernel, lateCycles: number): RunWatcher {
  const { loop } = kernel.machine;
  if (lateCycles > 0) {
    loop.enterSync(0);
    loop.spend(lateCycles);
    loop.leaveSync();
  }
  return new RunWatcher(kernel);
}
