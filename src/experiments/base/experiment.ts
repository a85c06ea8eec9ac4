/** What an experiment is: parameters in, tables, plots and findings out. */
import type { Machine, NamedFigure, Preset } from "../../../arch/index.ts";
import type { ParameterReader } from "../../input/parameter-reader.ts";
import type { ParameterSpec, ParameterValue } from "../../input/parameters.ts";
import type { Kernel, KernelConfig } from "../../machine/kernel.ts";
import type { MachineSettings } from "../../settings/machine-settings.ts";
import type { SettingName } from "../../settings/setting-names.ts";
import type { PointObserver, Points } from "./points.ts";

/** A column of a result table. */
export interface Column {
  /** Name in JSON and CSV, with its unit: `waitCycles`. */
  readonly key: string;
  /** Heading for people. */
  readonly heading: string;
}

/** A cell: text, or a number in the unit of its column; null where there is none, such as the mean of what has not happened. */
export type Value = string | number | null;

/** A table of results. */
export interface ResultTable {
  readonly name: string;
  /** One line: what a row is. */
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Value[])[];
  /** The point at which each row was measured (`points.ts`); absent where none is known. */
  readonly points?: readonly (string | null)[];
}

/** One curve. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

/** A plot of curves. */
export interface Plot {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly xLog: boolean;
  readonly yLog: boolean;
  readonly series: readonly Series[];
}

/** A figure of the machines that were measured. */
export interface InputFigure extends NamedFigure {
  /**
   * Whether the run has charged it to a CPU's clock, or looked at it to find out what to charge, be it only before the first
   * measurement; absent where that was not noted.
   */
  readonly used?: boolean;
}

/** What an experiment found. The same parameters and seed give the same, byte for byte. */
export interface ExperimentResult {
  readonly name: string;
  readonly preset: string;
  readonly seed: number;
  readonly parameters: Readonly<Record<string, ParameterValue | Value>>;
  readonly tables: readonly ResultTable[];
  readonly plots: readonly Plot[];
  /** What the tables say, one sentence each, computed from them. */
  readonly findings: readonly string[];
  /** Every figure of the machines that were measured, whether these tables depend on it or not; none is fitted to a result. */
  readonly inputs: readonly InputFigure[];
}

/** Observers of an experiment while it runs. */
export interface ExperimentObserver {
  /** Called as each part begins: `done` of `total`. */
  onProgress(done: number, total: number, text: string): void;
  /** Called with each kernel that an experiment has booted, before it is used. */
  onKernel(kernel: Kernel, label: string): void;
  /** Is told of points; absent: nobody is. */
  readonly onPoint?: PointObserver;
}

/** What an experiment is run with. */
export interface ExperimentContext extends ExperimentObserver {
  readonly preset: Preset;
  readonly seed: number;
  readonly parameters: ParameterReader;
  /** Settings of the machines that were given. */
  readonly settings: MachineSettings;
  /**
   * Boots a machine of `cpus` CPUs with the settings that were given; `config` has the last word.
   * @param label what it is for, shown in timelines
   */
  boot(cpus: number, label: string, config?: Partial<KernelConfig>): Kernel;
  /** Boots a kernel with `config` alone, which no observer is told of. */
  bootAlone(config: Partial<KernelConfig>): Kernel;
  /** Makes a machine without a kernel, such as `build(() => new Machine({ preset }))`: it can be noted then which figures it uses. */
  build(make: () => Machine): Machine;
  /** Its points: what is measured goes through them, so that the page can run one of them again. */
  readonly points: Points;
}

/** The parts of a result that an experiment makes itself. */
export type ExperimentOutcome = Pick<ExperimentResult, "tables" | "plots" | "findings">;

/** An experiment that can be run by name. */
export interface Experiment {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** What it does and what its columns mean, for its help. */
  readonly description: string;
  readonly parameters: readonly ParameterSpec[];
  /** Settings of the machine that can be given; the others are what the experiment varies, or play no part in it. */
  readonly settings: readonly SettingName[];
  /** Whether its machines have a kernel, and a hypervisor below a guest, whose code costs something. Default: yes. */
  readonly hasKernel?: boolean;
  /** Whether it runs guests whatever the settings. Default: no. */
  readonly runsGuests?: boolean;
  /** Whether it makes independent accesses. Default: no. */
  readonly overlaps?: boolean;
  /** A short command line, for its help. */
  readonly example: string;
  /** The column of its first table that `--sensitivity` follows when none is named. */
  readonly headline: string;
  /** Parameters by name, as text, that `--sensitivity` takes where none are given: small ones, since it runs the experiment again and again. */
  readonly sensitivityParameters?: Readonly<Record<string, string>>;
  /** Loads what a run needs beyond what is loaded for every command. It is waited for before `run`. */
  readonly prepare?: () => Promise<void>;
  run(context: ExperimentContext): ExperimentOutcome;
}
