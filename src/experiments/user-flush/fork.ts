/** `fork`: what the address space's part of fork costs by its size, and the write faults that come after it. */

import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { doWpPage, dupMm, exitMmap, type MmStruct, mmapPopulate, UserSpaces } from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { costOfFurtherPage } from "../base/further-page.ts";
import { KERNEL_EXPERIMENT_SETTINGS } from "../base/kernel-settings.ts";
import { plotByKind } from "../base/plot.ts";
import { pointed, pointOf } from "../base/points.ts";
import { DataTable, type Row } from "../base/table.ts";
import { runInBusyProcess } from "./busy-process.ts";
import { UserThread } from "./user-thread.ts";

const START = 0x40_0000;

const COLUMNS = {
  cpus: { heading: "CPUs" },
  pages: { heading: "pages", axis: "pages of the address space" },
  forkUsec: { heading: "fork (us/call)", axis: "us a fork, the address space's part" },
  forkNsPerPage: { heading: "fork (ns/page)" },
  copyNs: { heading: "copy fault (ns)", axis: "ns a write fault that copies" },
  reuseNs: { heading: "other fault (ns)" },
  exitUsec: { heading: "exit (us/call)" },
} as const;

const CYCLE_COLUMNS = {
  cpus: { heading: "CPUs" },
  pages: { heading: "pages" },
  forkCycles: { heading: "fork (a call)" },
  forkCyclesPerPage: { heading: "fork (a page)" },
  copyCycles: { heading: "copy fault" },
  reuseCycles: { heading: "other fault" },
  exitCycles: { heading: "exit (a call)" },
} as const;

/** What is measured for a number of pages, for both tables. */
interface Measured {
  readonly times: Row<typeof COLUMNS>;
  readonly cycles: Row<typeof CYCLE_COLUMNS>;
}

/** The experiment. */
export const fork: Experiment = {
  name: "fork",
  summary: "fork by size of the address space, and the write faults that copy pages afterwards",
  description: `Thread 0 of a process with n pages forks, and writes to half of the pages: each write faults and copies a page that the child has
too. Then the child ends, and the parent writes to the other half: each write faults and finds the page its own again. On more than
one CPU the others run threads of the process, so that fork flushes them, and each copy does. Columns are of one call, or of one fault, on the CPU
that makes it, in the second table in cycles; fork and exit are the address space's part of them.`,
  parameters: [
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 2,
      high: 1_048_576,
      default: [16, 256, 4096, 16_384],
      summary: "pages",
    },
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [1, 16], summary: "numbers of CPUs" },
    {
      name: "rounds",
      kind: "integer",
      low: 1,
      high: 1000,
      default: 3,
      summary: "rounds; one before them is not counted",
    },
  ],
  settings: KERNEL_EXPERIMENT_SETTINGS,
  example: "mmulab experiment fork --pages 16,1024 --cpus 1,8",
  headline: "forkUsec",
  sensitivityParameters: { cpus: "1,16", pages: "256" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const points = parameters.list("cpus").flatMap((cpus) => parameters.list("pages").map((pages) => ({ cpus, pages })));
  const label = ({ cpus, pages }: (typeof points)[number]): string =>
    `${counted(pages, "page")}, ${counted(cpus, "CPU")}`;
  const cells = context.points.each(points, label, (point) => {
    onProgress(points.indexOf(point), points.length, label(point));
    return measure(context, point.cpus, point.pages);
  });
  const rows = cells.map((cell) => pointed(cell.times, pointOf(cell)));
  const table = new DataTable("forks", "Forks, and write faults after them", COLUMNS, rows);
  const inCycles = new DataTable(
    "cycles",
    "The same in cycles",
    CYCLE_COLUMNS,
    cells.map((cell) => pointed(cell.cycles, pointOf(cell))),
  );
  const curveOf = ({ cpus }: Row<typeof COLUMNS>): string => counted(cpus, "CPU");
  const style = (title: string) => ({ title, xLog: true, yLog: true });
  return {
    tables: [table.toResult(), inCycles.toResult()],
    plots: [
      plotByKind(table, "pages", "forkUsec", style("Fork"), curveOf),
      plotByKind(table, "pages", "copyNs", style("A write fault that copies"), curveOf),
    ],
    findings: parameters.list("cpus").flatMap((cpus) => {
      const own = rows.filter((row) => row.cpus === cpus);
      const further = costOfFurtherPage(own, ({ forkUsec }) => 1000 * forkUsec);
      const { pages, copyNs } = own.reduce((most, row) => (row.pages > most.pages ? row : most));
      if (further === null) return [];
      return `${counted(cpus, "CPU")}: a page more costs fork ${further.toFixed(1)} ns; its first write, of ${counted(pages, "page")}, ${copyNs} ns.`;
    }),
  };
}

function measure({ parameters, preset, boot }: ExperimentContext, cpus: number, pages: number): Measured {
  const kernel = boot(cpus, `fork, ${counted(pages, "page")}, ${counted(cpus, "CPU")}`);
  const { machine } = kernel;
  const { loop } = machine;
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const rounds = parameters.number("rounds");
  const half = Math.floor(pages / 2);
  const sums = { fork: 0, copy: 0, reuse: 0, exit: 0 };
  function* caller(): KernelCode<void> {
    const user = new UserThread(spaces, mm);
    yield* user.call(mmapPopulate(spaces, mm, START, pages));
    for (let round = 0; round <= rounds; round++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      for (let page = 0; page < pages; page++) machine.cpus[0].touch(START + page * PAGE_SIZE);
      const cost = { ...sums };
      let child: MmStruct | null = null;
      cost.fork += yield* user.call(
        (function* (): KernelCode<void> {
          child = yield* dupMm(spaces, mm);
        })(),
      );
      if (child === null) throw new Error("there is no memory for a fork");
      for (let page = 0; page < half; page++) cost.copy += yield* user.write(START + page * PAGE_SIZE, doWpPage);
      cost.exit += yield* user.call(exitMmap(spaces, child));
      for (let page = half; page < pages; page++) cost.reuse += yield* user.write(START + page * PAGE_SIZE, doWpPage);
      if (round > 0) Object.assign(sums, cost);
    }
  }
  runInBusyProcess(kernel, spaces, mm, caller);
  const cycles = (sum: number, times: number): number => sum / times / rounds;
  const ns = (sum: number, times: number): number => Math.round(cycles(sum, times) / preset.frequencyGhz.value);
  const others = pages - half;
  return {
    times: {
      cpus,
      pages,
      forkUsec: ns(sums.fork, 1) / 1000,
      forkNsPerPage: ns(sums.fork, pages),
      copyNs: ns(sums.copy, half),
      reuseNs: ns(sums.reuse, others),
      exitUsec: ns(sums.exit, 1) / 1000,
    },
    cycles: {
      cpus,
      pages,
      forkCycles: Math.round(cycles(sums.fork, 1)),
      forkCyclesPerPage: Math.round(cycles(sums.fork, pages)),
      copyCycles: Math.round(cycles(sums.copy, half)),
      reuseCycles: Math.round(cycles(sums.reuse, others)),
      exitCycles: Math.round(cycles(sums.exit, 1)),
    },
  };
}
