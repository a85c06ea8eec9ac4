/** `concurrent-flush`: flushing one's own TLB while the others flush theirs, as Linux does since 5.13, against one after the other. */

import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import {
  allCpus,
  bookWork,
  type FlushPolicy,
  IPI_POLICY,
  mmapPopulate,
  mprotect,
  UserSpaces,
} from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { plotByColumn } from "../base/plot.ts";
import { pointed } from "../base/points.ts";
import { DataTable, type Row } from "../base/table.ts";
import { runInBusyProcess } from "./busy-process.ts";
import { UserThread } from "./user-thread.ts";

const START = 0x40_0000;
const PER_CALL = "us an mprotect, on the CPU that calls";

const COLUMNS = {
  cpus: { heading: "CPUs" },
  pages: { heading: "pages", axis: "pages of the range" },
  serialUsec: { heading: "serial (us/call)", axis: PER_CALL, curve: "serial" },
  concurrentUsec: { heading: "concurrent (us/call)", axis: PER_CALL, curve: "concurrent" },
  serialCycles: { heading: "serial (cycles)" },
  concurrentCycles: { heading: "concurrent (cycles)" },
  savedPercent: { heading: "saved %" },
} as const;

/** As Linux before 5.13 (`flush_tlb_mm_range`, `flush_tlb_others`): a CPU flushes its own TLB, and only then has the others flush theirs. */
const SERIAL_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "ipi, serial",
  summary: "interrupts to all CPUs after the CPU's own flush, as before Linux 5.13",
  *flush({ machine, smp }, { invalidate, record }) {
    const { loop } = machine;
    // `on_each_cpu`: here the others come first.
    yield* smp.callFunctionMany(allCpus(loop.cpus), invalidate, false, record);
    bookWork(loop, record, () => invalidate(loop.currentCpu));
  },
  *flushUser({ machine, smp }, { cpus, invalidate, record }) {
    const { loop } = machine;
    while (loop.mustYield()) yield PAUSE_TURN;
    if (cpus.includes(loop.currentCpu)) bookWork(loop, record, () => invalidate(loop.currentCpu));
    yield* smp.callFunctionMany(cpus, invalidate, false, record);
  },
};

/** The experiment. */
export const concurrentFlush: Experiment = {
  name: "concurrent-flush",
  summary: "a CPU's own flush while the others flush, as since Linux 5.13, against one after the other",
  description: `Thread 0 of a process takes the right to write n pages away and gives it back (mprotect), with a thread of the process busy on
each other CPU. 'concurrent' is Linux since 5.13: interrupts are sent first, and the CPU's own INVLPGs run while the others' do;
'serial' is Linux before it: first its own TLB, then the interrupts. All columns are of one call on the CPU that calls, system call
included.`,
  parameters: [
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [2, 16, 64], summary: "numbers of CPUs" },
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 1,
      high: 8192,
      default: [1, 4, 10, 16, 33, 34],
      summary: "pages",
    },
    { name: "rounds", kind: "integer", low: 1, high: 10_000, default: 20, summary: "rounds; the first is not counted" },
  ],
  settings: kernelExperimentSettings(["policy"]),
  example: "mmulab experiment concurrent-flush --cpus 2,56 --pages 1,10",
  headline: "concurrentCycles",
  sensitivityParameters: { cpus: "2,16", pages: "1,34" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress, preset } = context;
  const cpuCounts = parameters.list("cpus");
  const pageCounts = parameters.list("pages");
  const usec = (cycles: number): number => Math.round(cycles / preset.frequencyGhz.value) / 1000;
  const measured = context.points.each(
    cpuCounts,
    (cpus) => counted(cpus, "CPU"),
    (cpus) => {
      onProgress(cpuCounts.indexOf(cpus), cpuCounts.length, counted(cpus, "CPU"));
      const [serial, concurrent] = [SERIAL_POLICY, IPI_POLICY].map((policy) => measure(context, policy, cpus));
      return pageCounts.map((pages, k): Row<typeof COLUMNS> => {
        const [before, now] = [serial[k].cycles, concurrent[k].cycles];
        const row = {
          cpus,
          pages,
          serialUsec: usec(before),
          concurrentUsec: usec(now),
          serialCycles: before,
          concurrentCycles: now,
          savedPercent: Math.round((1000 * (before - now)) / before) / 10,
        };
        return pointed(row, concurrent[k].point);
      });
    },
  );
  const rows = measured.flat();
  const table = new DataTable("calls", "mprotect of one thread, the others busy", COLUMNS, rows);
  const plots = cpuCounts.map((cpus) => {
    const style = { title: `mprotect on ${counted(cpus, "CPU")}`, xLog: true, yLog: true };
    return plotByColumn(
      table,
      "pages",
      ["serialUsec", "concurrentUsec"],
      style,
      rows.filter((row) => row.cpus === cpus),
    );
  });
  const findings = cpuCounts.map((cpus) => {
    if (cpus === 1) return "1 CPU: nothing is saved, there is no other to flush.";
    const own = rows.filter((row) => row.cpus === cpus);
    const best = own.reduce((a, b) => (b.savedPercent > a.savedPercent ? b : a));
    return `${counted(cpus, "CPU")}: flushing at the same time saves most with ${counted(best.pages, "page")}, ${best.savedPercent} %.`;
  });
  return { tables: [table.toResult()], plots, findings };
}

/** Cycles of a call for each number of pages, and where they are measured. */
function measure(
  { parameters, boot, points }: ExperimentContext,
  policy: FlushPolicy,
  cpus: number,
): { readonly cycles: number; readonly point: string }[] {
  const kernel = boot(cpus, `${policy.name}, ${counted(cpus, "CPU")}`, { flushPolicy: policy });
  const { machine } = kernel;
  const { loop } = machine;
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const rounds = parameters.number("rounds");
  const measured: { cycles: number; point: string }[] = [];
  function* caller(): KernelCode<void> {
    const user = new UserThread(spaces, mm);
    yield* user.call(mmapPopulate(spaces, mm, START, Math.max(...parameters.list("pages"))));
    for (const pages of parameters.list("pages")) {
      const point = points.mark(`${policy.name}, ${counted(pages, "page")}`);
      const end = START + pages * PAGE_SIZE;
      let sum = 0;
      for (let round = 0; round <= rounds; round++) {
        while (loop.mustYield()) yield PAUSE_TURN;
        for (const writable of [false, true]) {
          for (let la = START; la < end; la += PAGE_SIZE) machine.cpus[0].touch(la);
          const cost = yield* user.call(mprotect(spaces, mm, START, end, writable));
          if (round > 0) sum += cost;
        }
      }
      measured.push({ cycles: Math.round(sum / rounds / 2), point });
    }
  }
  runInBusyProcess(kernel, spaces, mm, caller);
  return measured;
}
