/** `munmap-barrier`: munmap of pages that all threads of a process have used, and the flush in it; the others compute, or sleep at a barrier. */
import { type KernelCode, PAGE_SIZE } from "../../../arch/index.ts";
import { type FlushPolicy, IPI_POLICY, mmapPopulate, munmap, UserSpaces } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";
import { Barrier } from "./barrier.ts";
import { runInBusyProcess } from "./busy-process.ts";
import { UserThread } from "./user-thread.ts";

const START = 0x40_0000;
const STATES = ["busy", "asleep"] as const;

const COLUMNS = {
  others: { heading: "other CPUs", text: true },
  cpus: { heading: "CPUs", axis: "CPUs" },
  munmapUsec: { heading: "munmap (us)", axis: "us a munmap, on the CPU that calls" },
  munmapCycles: { heading: "munmap (cycles)" },
  flushUsec: { heading: "flush (us)" },
  flushCycles: { heading: "flush (cycles)" },
  flushPercent: { heading: "of it flush %" },
} as const;

/** The experiment. */
export const munmapBarrier: Experiment = {
  name: "munmap-barrier",
  summary: "munmap of pages that all CPUs have used, and the flush in it, with the others busy or asleep at a barrier",
  description: `Thread 0 of a process maps --pages pages and unmaps them; the process has a thread on every CPU. 'busy': the others compute meanwhile.
'asleep': each of them reads the pages and sleeps at a barrier before they are unmapped, and a CPU that sleeps is interrupted and woken all the same, as by
Linux before 4.20, which did not leave lazy CPUs alone; from which state, --idle-states says. Microseconds and cycles are of one munmap on the CPU that calls, system call
included, and of flush_tlb_mm_range in it.`,
  parameters: [
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [1, 2, 4, 8, 16], summary: "numbers of CPUs" },
    { name: "others", kind: "words", words: STATES, default: STATES, summary: "what the other CPUs do" },
    { name: "pages", kind: "integer", unit: "pages", low: 1, high: 512, default: 1, summary: "pages" },
    {
      name: "rounds",
      kind: "integer",
      low: 1,
      high: 10_000,
      default: 20,
      summary: "rounds; one before is not counted",
    },
  ],
  settings: kernelExperimentSettings(["policy"]),
  example: "mmulab experiment munmap-barrier --preset ivy-bridge --topology 8x15x1 --cpus 15,30,60,120",
  headline: "munmapUsec",
  sensitivityParameters: { cpus: "1,8", rounds: "3" },
  run,
};

/** Interrupts to all CPUs of `mm_cpumask`, lazy ones too (`flush_tlb_func` of a lazy CPU then leaves the address space). */
const LAZY_TOO_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "ipi, lazy CPUs too",
  summary: "interrupts to lazy CPUs too, as before Linux 4.20",
  flushUser: ({ smp }, { cpumask, invalidate, record }) => smp.onEachCpuMask(cpumask, invalidate, record),
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const points = parameters
    .words("others")
    .flatMap((others) => parameters.list("cpus").map((cpus) => ({ others, cpus })));
  const label = ({ others, cpus }: (typeof points)[number]): string => `${others}, ${counted(cpus, "CPU")}`;
  const rows = context.points.each(points, label, (point) => {
    onProgress(points.indexOf(point), points.length, label(point));
    return measure(context, point.others, point.cpus);
  });
  const table = new DataTable("munmaps", "munmap of one thread", COLUMNS, rows);
  const style = { title: "munmap", xLog: true, yLog: true };
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "cpus", "munmapUsec", style, ({ others }) => others)],
    findings: parameters.words("others").map((others) => {
      const own = rows.filter((row) => row.others === others);
      const last = own[own.length - 1];
      return `${others}: on ${counted(last.cpus, "CPU")} the flush is ${last.flushPercent} % of munmap.`;
    }),
  };
}

function measure({ parameters, preset, boot }: ExperimentContext, others: string, cpus: number): Row<typeof COLUMNS> {
  const kernel = boot(cpus, `${others}, ${counted(cpus, "CPU")}`, { flushPolicy: LAZY_TOO_POLICY });
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const [rounds, pages] = [parameters.number("rounds"), parameters.number("pages")];
  const end = START + pages * PAGE_SIZE;
  const flushes = watchFlushes(kernel);
  const read = (cpu: number): void => {
    for (let la = START; la < end; la += PAGE_SIZE) kernel.machine.cpus[cpu].touch(la);
  };
  const barrier = others === "asleep" ? new Barrier(kernel, spaces, mm, read) : null;
  let [munmapCycles, flushCycles] = [0, 0];
  function* caller(): KernelCode<void> {
    const user = new UserThread(spaces, mm);
    for (let round = 0; round <= rounds; round++) {
      yield* user.call(mmapPopulate(spaces, mm, START, pages));
      read(0);
      if (barrier !== null) yield* barrier.allCome();
      const before = flushes.cycles;
      const cycles = yield* user.call(munmap(spaces, mm, START, end));
      if (round === 0) continue;
      munmapCycles += cycles;
      flushCycles += flushes.cycles - before;
    }
    if (barrier !== null) barrier.open();
  }
  if (barrier === null) runInBusyProcess(kernel, spaces, mm, caller);
  else {
    barrier.spawnSleepers();
    kernel.spawn("caller", 0, new UserThread(spaces, mm).run(caller));
    kernel.runUntilIdle();
  }
  const usec = (cycles: number): number => Math.round(cycles / rounds / preset.frequencyGhz.value) / 1000;
  return {
    others,
    cpus,
    munmapUsec: usec(munmapCycles),
    munmapCycles: Math.round(munmapCycles / rounds),
    flushUsec: usec(flushCycles),
    flushCycles: Math.round(flushCycles / rounds),
    flushPercent: Math.round((100 * flushCycles) / munmapCycles),
  };
}

/** Counts the cycles between begin and end of CPU 0's `flush_tlb_mm_range`. */
function watchFlushes({ machine: { loop }, mm }: Kernel): { readonly cycles: number } {
  const watched = { cycles: 0 };
  const step = (sign: number, call: string): void => {
    if (call === "flush_tlb_mm_range" && loop.currentCpu === 0) watched.cycles += sign * loop.nowCycles();
  };
  mm.flushing.probes = { enter: (call) => step(-1, call), exit: (call) => step(1, call) };
  return watched;
}
