/** An emulated kernel in the state in which a recording begins, and the state in which it is later. */
import { MmulabError } from "../../arch/isa/errors.ts";
import type { KernelCode, Thread } from "../../arch/time/event-loop.ts";
import {
  dumpPageTables,
  type PageTableRun,
  type RestoredArea,
  restoreVmalloc,
  snapshotVmalloc,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  vmallocinfo,
  vmallocMeminfo,
} from "../../mm/index.ts";
import { parseAddressMarker, parsePageTableRun } from "../../mm/views/page-table-run.ts";
import { parseVmallocinfoLine } from "../../mm/views/vmallocinfo-line.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { recordedVersion } from "./header-check.ts";
import type { RecordingHeader } from "./line-schemas.ts";
import type { RecordedState } from "./recorded-state.ts";
import type { StateLines } from "./state-lines.ts";

/** Memory of the machines that were recorded. */
const RECORDED_MEMORY_BYTES = 4 * 2 ** 30;

/**
 * Boots a kernel with the recorded one's constants and brings vmalloc into the recorded state.
 * @param lines where the state stands, to be told which records come from which texts
 */
export function bootRecordedKernel(header: RecordingHeader, state: RecordedState, lines?: StateLines): Kernel {
  const kernel = bootKernel({
    ...recordedMachine(header),
    kernel: recordedVersion(header)?.name,
    vmalloc: {
      onlineCpus: header.num_online_cpus,
      possibleCpus: header.num_possible_cpus,
      nrCpus: header.NR_CPUS,
      vmapNodes: header.nr_vmap_nodes,
      zoneSizeBytes: header.vmap_zone_size,
      lazyMaxPages: header.lazy_max_pages,
      blockPages: header.vmap_bbmap_bits,
      purgeThresholdPages: header.vmap_purge_threshold,
      allowHuge: header.vmap_allow_huge === 1,
      ioremapMaxPageShift: header.ioremap_max_page_shift,
    },
  });
  restoreVmalloc(kernel.vm, state.snapshot, restoredAreas(state, lines), pageTableRuns(state, lines));
  kernel.currentCpu = header.pinned_cpu;
  return kernel;
}

/** What a kernel of any version is booted with to run on the recorded machine. */
export function recordedMachine(header: RecordingHeader): Partial<KernelConfig> {
  return {
    cpus: header.smp,
    memoryBytes: RECORDED_MEMORY_BYTES,
    flushCeilingPages: header.tlb_single_page_flush_ceiling,
  };
}

/**
 * Whether a failure while a recording is replayed comes from what it asks for: a state that contradicts itself, or more than
 * any machine has (a RangeError is an array that this computer cannot hold). Anything else is a fault of the emulator.
 */
export function isRecordingsFault(error: unknown): error is Error {
  if (error instanceof MmulabError) return error.code !== "DEADLOCK";
  return error instanceof RangeError;
}

/** The state of a kernel in the form in which recordings have it. */
export function captureState(kernel: Kernel): RecordedState {
  const { vm, tables } = kernel;
  return {
    snapshot: snapshotVmalloc(vm),
    vmallocinfo: vmallocinfo(vm),
    pageTables: dumpPageTables(tables, VMALLOC_START, VMALLOC_DUMP_END),
    meminfo: vmallocMeminfo(vm),
  };
}

/**
 * Sets the clocks of all CPUs to the latest of them. Between two calls of a recording only the recorded thread's CPU was busy, so
 * that time went by on the others as well; where a call sets several CPUs to work (the helpers of a purge), the order of their
 * steps then depends on that call alone.
 */
export function alignClocks({ machine }: Kernel): void {
  const { clockCycles } = machine.loop;
  clockCycles.fill(clockCycles.reduce((latest, cycles) => Math.max(latest, cycles)));
}

/** The thread as which synchronous calls on a kernel run. */
export function callingThread(kernel: Kernel): Thread | null {
  return kernel.run(currentThread(kernel));
}

// biome-ignore lint/correctness/useYield: kernel code is a generator even where it never waits
function* currentThread(kernel: Kernel): KernelCode<Thread | null> {
  return kernel.machine.loop.currentThread;
}

function restoredAreas(state: RecordedState, lines: StateLines | undefined): RestoredArea[] {
  return state.vmallocinfo.flatMap((text) => {
    const { start, caller, pages, phys, words, vmMapRam, unpurged } = parseVmallocinfoLine(text);
    if (vmMapRam || unpurged) return [];
    const area = { start, caller, pages, physAddr: phys, hasArrayArea: words.includes("vpages") };
    lines?.note(area, lines.ofText("vmallocinfo", text));
    return [area];
  });
}

function pageTableRuns(state: RecordedState, lines: StateLines | undefined): PageTableRun[] {
  return state.pageTables.flatMap((text) => {
    if (parseAddressMarker(text) !== null) return [];
    const run = parsePageTableRun(text);
    lines?.note(run, lines.ofText("page tables", text));
    return [run];
  });
}
