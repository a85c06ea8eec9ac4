/** `unmap-threads`: mapping, touching and unmapping pages that are there, by several threads: eagerly, lazily, and out of vmap blocks. */
import { type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/index.ts";
import {
  EAGER_POLICY,
  type FlushPolicy,
  IPI_POLICY,
  type Vmalloc,
  vmap,
  vmMapRam,
  vmUnmapRam,
  vunmap,
  wait,
} from "../../mm/index.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { kernelExperimentSettings } from "./base/kernel-settings.ts";
import { checkRoomForWorkers, PLACE_PARAMETER, placeWorkers } from "./base/placement.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

/** Part of the loops that is not counted. */
const WARM_UP_SHARE = 4;

/** A way to map frames for a while. */
interface Way {
  readonly name: string;
  readonly policy: FlushPolicy;
  map(vm: Vmalloc, frames: Uint32Array): KernelCode<number>;
  unmap(vm: Vmalloc, address: number, pages: number): KernelCode<void>;
}

const VMAP = {
  map: (vm: Vmalloc, frames: Uint32Array) => vmap(vm, frames),
  unmap: (vm: Vmalloc, address: number) => vunmap(vm, address),
};

const WAYS: readonly Way[] = [
  { name: "vunmap, eager", policy: EAGER_POLICY, ...VMAP },
  { name: "vunmap, lazy", policy: IPI_POLICY, ...VMAP },
  {
    name: "vm_map_ram",
    policy: IPI_POLICY,
    *map(vm, frames) {
      return yield* wait(vmMapRam(vm, frames));
    },
    *unmap(vm, address, pages) {
      yield* wait(vmUnmapRam(vm, address, pages));
    },
  },
];

const COLUMNS = {
  way: { heading: "way", text: true },
  threads: { heading: "threads", axis: "threads" },
  loopNs: { heading: "ns/loop, thread", axis: "ns a map, touch and unmap, one thread" },
  loopCycles: { heading: "cycles/loop, thread" },
  loopsPerSecond: { heading: "loops/s, machine" },
} as const;

/** The experiment. */
export const unmapThreads: Experiment = {
  name: "unmap-threads",
  summary: "map, touch and unmap of N threads: vunmap that flushes each time, lazily, and vm_map_ram",
  description: `N threads of the kernel, a CPU each of --cpus, map --pages pages of their own, touch each and unmap them, again and again. 'vunmap, eager'
flushes every TLB in each vunmap, under one lock, as before Linux 2.6.28; 'vunmap, lazy' leaves that to a purge; 'vm_map_ram' has no
lock in common for most calls, as its pages come out of blocks that belong to a CPU. The other CPUs are idle. Nanoseconds and cycles
are of one thread's loop, loops a second of the machine.`,
  parameters: [
    { name: "cpus", kind: "integer", low: 1, high: 1024, default: 8, summary: "CPUs of the machine" },
    {
      name: "threads",
      kind: "integers",
      low: 1,
      high: 1024,
      default: [1, 2, 4, 8],
      summary: "numbers of threads; those for which there are not enough CPUs are left out",
    },
    { name: "pages", kind: "integer", unit: "pages", low: 1, high: 512, default: 4, summary: "pages of each loop" },
    { name: "loops", kind: "integer", low: 4, high: 1_000_000, default: 4000, summary: "loops of each thread" },
    PLACE_PARAMETER,
  ],
  settings: kernelExperimentSettings(["policy"]),
  example: "mmulab experiment unmap-threads --topology 2x4x1 --threads 1,2,4,8",
  headline: "loopCycles",
  sensitivityParameters: { threads: "1,4", loops: "200" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const cpus = parameters.number("cpus");
  checkRoomForWorkers(parameters, "threads", cpus);
  const counts = parameters.list("threads").filter((threads) => threads <= cpus);
  const plan = WAYS.flatMap((way) => counts.map((threads) => ({ way, threads })));
  const label = ({ way, threads }: (typeof plan)[number]): string => `${way.name}, ${counted(threads, "thread")}`;
  const rows = context.points.each(plan, label, (point) => {
    onProgress(plan.indexOf(point), plan.length, label(point));
    return measure(context, point.way, cpus, point.threads, label(point));
  });
  const table = new DataTable("loops", `Map, touch and unmap on ${counted(cpus, "CPU")}`, COLUMNS, rows);
  const style = { title: "Map, touch and unmap", xLog: true, yLog: true };
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "threads", "loopNs", style, ({ way }) => way)],
    findings: counts.map((threads) => {
      const ns = (name: string): number => rows.find((row) => row.way === name && row.threads === threads)?.loopNs ?? 0;
      const ratio = (ns(WAYS[0].name) / ns(WAYS[2].name)).toFixed(1);
      return `${counted(threads, "thread")}: vm_map_ram is ${ratio} times as fast as eager vunmap.`;
    }),
  };
}

function measure(
  { parameters, preset, boot }: ExperimentContext,
  way: Way,
  cpus: number,
  threads: number,
  label: string,
): Row<typeof COLUMNS> {
  const kernel = boot(cpus, label, { flushPolicy: way.policy });
  const { vm, machine } = kernel;
  const { loop } = machine;
  const pages = parameters.number("pages");
  const loops = parameters.number("loops");
  const warmUp = Math.floor(loops / WARM_UP_SHARE);
  const cycles: number[] = [];
  function* thread(cpu: number, frames: Uint32Array): KernelCode<void> {
    let began = 0;
    for (let i = 0; i < loops; i++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      if (i === warmUp) began = loop.nowCycles();
      const address = yield* way.map(vm, frames);
      for (let page = 0; page < pages; page++) machine.cpus[cpu].touch(address + page * PAGE_SIZE);
      yield* way.unmap(vm, address, pages);
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
    cycles.push((loop.nowCycles() - began) / (loops - warmUp));
  }
  const at = placeWorkers(loop.topology, threads, parameters.word("place"));
  const frames = at.map(() => kernel.allocFrames(pages));
  at.forEach((cpu, i) => {
    kernel.spawn(`thread/${i}`, cpu, thread(cpu, frames[i]));
  });
  kernel.runUntilIdle();
  const mean = cycles.reduce((sum, own) => sum + own, 0) / threads;
  const { value: ghz } = preset.frequencyGhz;
  return {
    way: way.name,
    threads,
    loopNs: Math.round(mean / ghz),
    loopCycles: Math.round(mean),
    loopsPerSecond: Math.round(cycles.reduce((sum, own) => sum + (ghz * 1e9) / own, 0)),
  };
}
