/** What the page shows: a workload with its settings and seed, a story, a file, or code of one's own. A scenario is plain data, and all that a link needs. */
import type { SettingName } from "../../settings/setting-names.ts";

/** CPUs of a machine in the page at the most. */
export const CPUS_MAX = 64;
/** Operations of a workload in the page at the most. */
export const OPERATIONS_MAX = 1_000_000;

/** A workload on a machine. */
export interface WorkloadScenario {
  readonly kind: "workload";
  readonly name: string;
  readonly operations: number;
  readonly seed: number;
  readonly cpus: number;
  readonly memoryMib: number;
  /** The microarchitecture's name, or the file that it is in. */
  readonly preset: string;
  /** Figures that have another value, as `NAME=VALUE`. */
  readonly set?: readonly string[];
  /** The workload's own parameters, as `NAME=VALUE`. */
  readonly parameters: readonly string[];
  /** Settings of machine and kernel as the command line writes them, by name: `{ "flush-ceiling": "1" }`. */
  readonly settings: Readonly<Partial<Record<SettingName, string>>>;
}

/** A story on the machine that it is made for. */
export interface StoryScenario {
  readonly kind: "story";
  readonly name: string;
}

/** A file: a recording, a trace or a saved state. What is in it is read elsewhere. */
export interface FileScenario {
  readonly kind: "file";
  readonly name: string;
}

/** A workload in TypeScript that somebody wrote, on a machine. */
export interface SourceScenario extends Omit<WorkloadScenario, "kind" | "parameters"> {
  readonly kind: "source";
  readonly source: string;
}

/** A point of an experiment, on the machine that the experiment boots for it. */
export interface PointScenario {
  readonly kind: "experiment";
  readonly name: string;
  /** Its path (`src/experiments/base/points.ts`): `3`, `3.1`. */
  readonly point: string;
  readonly seed: number;
  readonly preset: string;
  /** Figures that have another value, as `NAME=VALUE`. */
  readonly set?: readonly string[];
  /** The experiment's parameters, as `NAME=VALUE`. */
  readonly parameters: readonly string[];
  readonly settings: WorkloadScenario["settings"];
}

export type Scenario = WorkloadScenario | StoryScenario | FileScenario | SourceScenario | PointScenario;

/** `mixed` in 400 operations on 4 CPUs. */
export const DEFAULT_SCENARIO: WorkloadScenario = {
  kind: "workload",
  name: "mixed",
  operations: 400,
  seed: 1,
  cpus: 4,
  memoryMib: 1024,
  preset: "skylake",
  parameters: [],
  settings: {},
};

/** What a workload of one's own is called. */
export const SOURCE_NAME = "workload.ts";
