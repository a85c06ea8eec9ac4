/** The commands by name. Each is loaded when it is asked for: all of them together take longer to load than most take to run. */
import type { CommandEntry } from "./command-entry.ts";

/** All commands, in the order of the help. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "run",
    summary: "boot an emulated machine, run a workload, print a report",
    load: async () => (await import("./run.ts")).addRunCommand,
  },
  {
    name: "replay",
    summary: "compare with recordings of a real kernel; run traces of real programs",
    load: async () => (await import("./replay.ts")).addReplayCommand,
  },
  {
    name: "record-script",
    summary: "print a shell script that records vmalloc on a stock kernel",
    load: async () => (await import("./record-script.ts")).addRecordScriptCommand,
  },
  {
    name: "inspect",
    summary: "look at areas, page tables, TLBs and memory after a run or part of a replay",
    load: async () => (await import("./inspect.ts")).addInspectCommand,
  },
  {
    name: "experiment",
    summary: "measure what flushes cost, where thresholds are best, what page tables do",
    load: async () => (await import("./experiment.ts")).addExperimentCommand,
  },
  {
    name: "explore",
    summary: "search the interleavings of kernel code for one that goes wrong",
    load: async () => (await import("./explore.ts")).addExploreCommand,
  },
  {
    name: "sweep",
    summary: "run a grid of parameters on all cores, resumably",
    load: async () => (await import("./sweep.ts")).addSweepCommand,
  },
  {
    name: "rerun",
    summary: "run the command again that made a file, and compare",
    load: async () => (await import("./rerun.ts")).addRerunCommand,
  },
  {
    name: "new",
    summary: "write a template of a workload, a flush policy, a preset or an experiment of one's own",
    load: async () => (await import("./new.ts")).addNewCommand,
  },
  {
    name: "presets",
    summary: "list the microarchitectures; show every figure of one, and how it is known",
    load: async () => (await import("./presets.ts")).addPresetsCommand,
  },
  {
    name: "view",
    summary: "look at the machine in a web page, step by step",
    load: async () => (await import("./view.ts")).addViewCommand,
  },
  {
    name: "completion",
    summary: "print a script that completes commands and options in bash, zsh or fish",
    load: async () => (await import("./completion.ts")).completionCommand(COMMANDS),
  },
  {
    name: "calibrate",
    summary: "measure this machine's TLBs and write a preset of it",
    load: async () => (await import("./calibrate.ts")).addCalibrateCommand,
  },
];
