/** `pcid-ping-pong`: processes that take turns on one CPU, with PCIDs and without, as their number and their memory grow. */

import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../arch/index.ts";
import { type MmStruct, mmapPopulate, UserSpaces } from "../../mm/index.ts";
import { counted } from "../report/counted.ts";
import { GUEST_EXPERIMENT_SETTINGS } from "../settings/guest-settings.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

const START = 0x40_0000;
/** Turns of each process before those that are counted: each has its ASID and its pages in the TLB then. */
const WARM_UP_TURNS = 2;

const SETTINGS = ["PCIDs", "no PCIDs", "PCIDs, isolation", "no PCIDs, isolation"] as const;

const COLUMNS = {
  setting: { heading: "setting", text: true },
  processes: { heading: "processes", axis: "processes" },
  pages: { heading: "pages each" },
  turnUsec: { heading: "us/turn, one CPU", axis: "microseconds a turn, one CPU" },
  turnCycles: { heading: "cycles/turn" },
  walksPerTurn: { heading: "walks/turn" },
  walkCyclesPerTurn: { heading: "walk cycles/turn" },
  flushesPerTurn: { heading: "flushes/turn" },
} as const;

/** The experiment. */
export const pcidPingPong: Experiment = {
  name: "pcid-ping-pong",
  summary: "processes that take turns on a CPU: what a switch costs with PCIDs and without, isolation or not",
  description: `N processes take turns on one CPU. In its turn a process touches each of its pages once, in user mode, and makes a system call. Linux
gives a CPU six ASIDs: a seventh process finds its own given away, and everything it had cached is flushed; a TLB may tell fewer PCIDs apart (Skylake: four). Without PCIDs every
switch flushes; with page-table isolation also every way into the kernel and back. All columns are of one turn on one CPU: the switch, the
way to user mode, the touches, and the way back.`,
  parameters: [
    { name: "processes", kind: "integers", low: 1, high: 64, default: [1, 2, 4, 6, 7, 8], summary: "processes" },
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 0,
      high: 4096,
      default: [16, 64, 256],
      summary: "pages of each process",
    },
    {
      name: "turns",
      kind: "integer",
      low: 1,
      high: 100_000,
      default: 50,
      summary: "turns of each process that are counted",
    },
  ],
  settings: ["kernel", "policy", "mitigations", "idle-states", ...GUEST_EXPERIMENT_SETTINGS],
  example: "mmulab experiment pcid-ping-pong --processes 2,6,7 --pages 64",
  headline: "turnCycles",
  sensitivityParameters: { processes: "2,7", turns: "10" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress, preset } = context;
  const settings = SETTINGS.filter((setting) => preset.features.pcid || setting.startsWith("no"));
  const points = settings.flatMap((setting) =>
    parameters
      .list("pages")
      .flatMap((pages) => parameters.list("processes").map((processes) => ({ setting, pages, processes }))),
  );
  const label = ({ setting, pages, processes }: (typeof points)[number]): string =>
    `${setting}, ${counted(processes, "process", "processes")} of ${counted(pages, "page")}`;
  const rows = context.points.each(points, label, (point) => {
    onProgress(points.indexOf(point), points.length, label(point));
    return measure(context, point.setting, point.processes, point.pages);
  });
  const table = new DataTable("turns", "One turn of a process, on one CPU", COLUMNS, rows);
  const plots = parameters.list("pages").map((pages) => {
    const style = { title: `A turn of a process of ${counted(pages, "page")}`, xLog: false, yLog: true };
    const own = rows.filter((row) => row.pages === pages);
    return plotByKind(table, "processes", "turnUsec", style, ({ setting }) => setting, own);
  });
  return { tables: [table.toResult()], plots, findings: findings(rows) };
}

/** What PCIDs save, for each number of processes with the most pages. */
function findings(rows: readonly Row<typeof COLUMNS>[]): string[] {
  const most = Math.max(...rows.map(({ pages }) => pages));
  const of = (setting: string) => rows.filter((row) => row.pages === most && row.setting === setting);
  const without = of("no PCIDs");
  return of("PCIDs").map(({ processes, turnCycles }, i) => {
    const share = (turnCycles / without[i].turnCycles).toFixed(2);
    return `${counted(processes, "process", "processes")} of ${counted(most, "page")}: with PCIDs a turn takes ${share} of what it takes without.`;
  });
}

function measure(context: ExperimentContext, setting: string, processes: number, pages: number): Row<typeof COLUMNS> {
  const { parameters, preset, boot } = context;
  const isolation = setting.endsWith("isolation");
  const kernel = boot(1, `${setting}, ${counted(processes, "process", "processes")} of ${counted(pages, "page")}`, {
    pageTableIsolation: isolation,
  });
  const { machine } = kernel;
  const { loop } = machine;
  const [cpu] = machine.cpus;
  const { userMode } = kernel.mm.flushing;
  const spaces = new UserSpaces(kernel.mm, !setting.startsWith("no"));
  const turns = parameters.number("turns");
  const mms: MmStruct[] = [];
  let cycles = 0;
  let before = cpu.counters();
  function* turn(mm: MmStruct): KernelCode<void> {
    while (loop.mustYield()) yield PAUSE_TURN;
    const began = loop.nowCycles();
    // With what mitigations do there (`FILL_RETURN_BUFFER`).
    loop.spend(loop.contextSwitchCycles);
    spaces.switchTo(mm);
    userMode.enterUser();
    for (let page = 0; page < pages; page++) cpu.touch(START + page * PAGE_SIZE);
    userMode.enterKernel();
    cycles += loop.nowCycles() - began;
  }
  function* all(): KernelCode<void> {
    for (let i = 0; i < processes; i++) {
      const mm = spaces.mmAlloc();
      mms.push(mm);
      if (pages > 0) yield* mmapPopulate(spaces, mm, START, pages);
    }
    for (let round = 0; round < WARM_UP_TURNS + turns; round++) {
      if (round === WARM_UP_TURNS) {
        cycles = 0;
        before = cpu.counters();
      }
      for (const mm of mms) yield* turn(mm);
    }
  }
  kernel.spawn("processes", 0, all());
  kernel.runUntilIdle();
  const after = cpu.counters();
  const per = (count: number): number => Math.round((10 * count) / (turns * processes)) / 10;
  const grown = (name: string): number => after[name] - before[name];
  return {
    setting,
    processes,
    pages,
    turnUsec: Math.round(cycles / (turns * processes) / preset.frequencyGhz.value) / 1000,
    turnCycles: Math.round(cycles / (turns * processes)),
    walksPerTurn: per(grown("dtlb_load_misses.walk_completed") + grown("dtlb_store_misses.walk_completed")),
    walkCyclesPerTurn: Math.round(
      (grown("dtlb_load_misses.walk_active") + grown("dtlb_store_misses.walk_active")) / (turns * processes),
    ),
    flushesPerTurn: per(grown("mov_cr3.flush")),
  };
}
