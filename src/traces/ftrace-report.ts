/** What a trace is replayed with, and what its replay reports. */
import type { FlushCost, KernelVersion } from "../../mm/index.ts";
import type { Kernel, KernelConfig } from "../machine/kernel.ts";
import type { FigureCounts } from "../report/figures.ts";
import type { FlushCosts } from "../report/flush-costs.ts";
import type { GuestReport } from "../report/guest.ts";
import type { MachineSettings } from "../settings/machine-settings.ts";
import type { LostEvents, SkippedLines } from "./ftrace-skips.ts";
import type { ShootdownComparison } from "./traced-shootdowns.ts";
import type { FaultCounts } from "./traced-tasks.ts";

/** How a trace is replayed. */
export interface FtraceOptions {
  readonly preset: KernelConfig["preset"];
  readonly memoryBytes: number;
  /** CPUs of the emulated machine; those of the trace are dealt out over them. Absent: as many as the trace names. */
  readonly cpus?: number;
  /** Settings of the kernel; `lazyMax` absent: the trace's own, or with `cpus` the kernel's default for so many. */
  readonly settings?: MachineSettings;
  /** Boots the emulated kernel. Absent: `bootKernel` does. */
  readonly boot?: (config: Partial<KernelConfig>) => Kernel;
  /** The version of Linux as data, in place of the one that the settings name. */
  readonly version?: KernelVersion;
  /** Whether areas are placed, and drains made, by the emulated kernel's own rules even where they could be as in the trace. */
  readonly followsOwnRules?: boolean;
  /** Given the kernel before anything is made in it, to watch it or to keep accounts of more. */
  readonly onKernel?: (kernel: Kernel) => void;
  /** Whether the report has what flushes cost by cause and by who freed. */
  readonly accounts?: boolean;
  /** Told how many bytes of the file have been read, and how many events replayed. */
  readonly onProgress?: (bytes: number, events: number) => void;
}

/** Flushes of the traced kernel. */
export interface TracedFlushes {
  readonly whole: number;
  readonly pageByPage: number;
  readonly seconds: number;
}

/** Calls of one kind. */
export interface CallCost {
  readonly made: number;
  readonly failed: number;
  /** Cycles of the CPUs that made them, waiting included. */
  readonly cycles: number;
  /** How long they took the traced kernel. */
  readonly tracedSeconds: number;
}

/** What one task did. */
export interface TaskCost {
  readonly task: string;
  readonly calls: number;
  readonly cycles: number;
  readonly flushes: number;
  /** All parts of these flushes. */
  readonly flushCycles: number;
}

/** What a replay did and cost. Cycles are of the emulated CPUs. */
export interface FtraceReport {
  readonly trace: string;
  readonly machine: {
    readonly preset: string;
    readonly frequencyGhz: number;
    readonly cpus: number;
    readonly figures: FigureCounts;
    /** Settings that were given, as words by name; absent when there are none. */
    readonly settings?: Readonly<Record<string, string | number>>;
  };
  /** The host since it booted the kernel; absent where that is no guest. */
  readonly guest?: GuestReport;
  readonly policy: string;
  readonly lazyMaxPages: number;
  readonly traced: {
    readonly cpus: number;
    readonly seconds: number;
    readonly lazyMaxPages: number;
    readonly purges: number;
    /** Those that the number of lazily freed pages does not explain: somebody asked for them (`vm_unmap_aliases`). */
    readonly explicitPurges: number;
    readonly areasPurged: number;
    /** Flushes of kernel addresses that the traced kernel made, and how long they took it; absent where the trace does not show them. */
    readonly flushes?: TracedFlushes;
    /** The release of the traced kernel, where the trace says it. */
    readonly release?: string;
  };
  /** Shootdowns as the traced kernel measured them, and as the emulated one made them; absent where the trace shows none. */
  readonly shootdowns?: ShootdownComparison;
  /** Page faults of the traced kernel, and those of user mode that were made here; absent where the trace shows none. */
  readonly pageFaults?: { readonly traced: FaultCounts; readonly emulated: number };
  /** The version of Linux that is emulated. */
  readonly kernel: string;
  /** Areas and lazily freed pages that were there before the trace begins, and have been made. */
  readonly initial?: { readonly areas: number; readonly lazyPages: number };
  readonly areas: {
    readonly allocated: number;
    readonly bytes: number;
    /** Those that got the address that the traced kernel gave them. */
    readonly atTracedAddress: number;
    readonly freed: number;
    readonly failed: number;
    readonly live: number;
  };
  readonly purges: number;
  readonly areasPurged: number;
  readonly fullFlushes: number;
  readonly rangeFlushes: number;
  /** Cycles of the CPUs that allocated and freed, waiting included. */
  readonly allocCycles: number;
  readonly freeCycles: number;
  /** The parts of all flushes. */
  readonly flushCost: FlushCost;
  /** All CPUs' cycles by activity. */
  readonly cyclesByActivity: Readonly<Record<string, number>>;
  /** The calls that were made, by the kernel function's name; absent for a trace without calls. */
  readonly calls?: Readonly<Record<string, CallCost>>;
  /** What the calls of each task cost, and the flushes that it made, in the order of their cost. */
  readonly byTask?: readonly TaskCost[];
  /** What flushes cost by cause and by who freed. */
  readonly flushCosts?: FlushCosts;
  /** Where the traced kernel and the emulated one disagree, in words. */
  readonly differences: readonly string[];
  readonly skipped: readonly SkippedLines[];
  /** What the tracer lost, by CPU; `events` null where it does not say how many. */
  readonly lost: readonly LostEvents[];
}
