/**
 * `madvise-loop`: threads of a process that fault a page in and drop it again, by flush policy: what will-it-scale's tlb_flush2 does
 * (docs/measurements.md, "Beside will-it-scale").
 */

import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { type FlushPolicy, type MmStruct, madviseDontneed, mmap, munmap, UserSpaces } from "../../../mm/index.ts";
import { ValueError } from "../../input/errors.ts";
import type { ParameterReader } from "../../input/parameter-reader.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { checkRoomForWorkers } from "../base/placement.ts";
import { plotByKind } from "../base/plot.ts";
import { policiesOf, policiesParameter } from "../base/policies.ts";
import { DataTable, type Row } from "../base/table.ts";
import { LoopTimes } from "./loop-times.ts";
import { SHARE_COLUMNS } from "./time-shares.ts";
import { UserThread } from "./user-thread.ts";

/** Where the first thread's mapping begins; each further one is right behind it, as `mmap` puts mappings of one size. */
const START = 0x4000_0000;

const COLUMNS = {
  policy: { heading: "policy", text: true },
  threads: { heading: "threads", axis: "threads" },
  loopsPerSecond: { heading: "loops/s, machine", axis: "loops per second, whole machine" },
  loopUsec: { heading: "us/loop, thread" },
  loopCycles: { heading: "cycles/loop, thread" },
  ...SHARE_COLUMNS,
} as const;

/** The experiment. */
export const madviseLoop: Experiment = {
  name: "madvise-loop",
  summary: "threads that touch a page and MADV_DONTNEED it, in a loop: throughput by policy, and what limits it",
  description: `N threads of one process, a CPU each, go through a mapping of their own of --mapping pages, all side by side, and at its end unmap it and map it
anew. In each loop a thread writes the next --pages pages, drops them with MADV_DONTNEED, and with --read reads them, which maps the zero page: by
default as will-it-scale's tlb_flush2 does. Where --pages does not divide --mapping, the rest is left out of the mapping. With --mapping 0 a thread
uses the same pages again and again. Threads begin at different places of their mappings. Loops a second are of the whole machine; microseconds and cycles a loop are one thread's. The last columns say where the
time of the threads' CPUs went in the loops that are counted: locks (above all that of the LRU lists), cache lines that other CPUs had, acknowledgements, interrupts; idle is a CPU while its thread
sleeps for mmap_lock.`,
  parameters: [
    { name: "threads", kind: "integers", low: 1, high: 1024, default: [1, 2, 4, 8, 16, 32, 64], summary: "threads" },
    { name: "pages", kind: "integer", unit: "pages", low: 1, high: 512, default: 1, summary: "pages of each loop" },
    {
      name: "mapping",
      kind: "integer",
      unit: "pages",
      low: 0,
      high: 65_536,
      default: 256,
      summary: "pages of each thread's mapping",
    },
    { name: "read", kind: "boolean", default: true, summary: "read the pages after they are dropped" },
    {
      name: "cpus",
      kind: "integer",
      low: 0,
      high: 1024,
      default: 0,
      summary: "CPUs of the machine, which broadcasts go to (0: one for each thread)",
    },
    { name: "loops", kind: "integer", low: 4, high: 1_000_000, default: 512, summary: "loops of each thread" },
    policiesParameter(["ipi"]),
  ],
  settings: kernelExperimentSettings(["policy"]),
  example: "mmulab experiment madvise-loop --preset zen3 --policies ipi,invlpgb --threads 1,8,64",
  headline: "loopCycles",
  sensitivityParameters: { threads: "1,8" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const cpus = parameters.number("cpus") || Number.POSITIVE_INFINITY;
  checkRoomForWorkers(parameters, "threads", cpus);
  const threadCounts = parameters.list("threads").filter((threads) => threads <= cpus);
  const policies = policiesOf(parameters);
  const turn = turnOf(parameters);
  const plan = policies.flatMap((policy) => threadCounts.map((threads) => ({ policy, threads })));
  const label = ({ policy, threads }: (typeof plan)[number]): string => `${policy.name}, ${counted(threads, "thread")}`;
  const rows = context.points.each(plan, label, (point): Row<typeof COLUMNS> => {
    onProgress(plan.indexOf(point), plan.length, label(point));
    return measure(context, point.policy, point.threads, turn);
  });
  const table = new DataTable("loops", "Touch and MADV_DONTNEED, in a loop", COLUMNS, rows);
  const style = { title: "Throughput of the machine", xLog: true, yLog: true };
  const findings = policies.map(({ name }) => {
    const own = rows.filter(({ policy }) => policy === name);
    const best = own.reduce((a, b) => (b.loopsPerSecond > a.loopsPerSecond ? b : a));
    return `${name}: most loops a second with ${counted(best.threads, "thread")}.`;
  });
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "threads", "loopsPerSecond", style, ({ policy }) => policy)],
    findings,
  };
}

/** What a thread does. */
interface Turn {
  /** Bytes of one turn, and turns through the mapping. */
  readonly bytes: number;
  readonly turns: number;
  /** Whether the mapping is unmapped and mapped anew at its end. */
  readonly remaps: boolean;
  /** Whether the pages are read after they were dropped. */
  readonly reads: boolean;
}

/** @throws ValueError for more pages than the mapping has */
function turnOf(parameters: ParameterReader): Turn {
  const pages = parameters.number("pages");
  const mapping = parameters.number("mapping");
  if (mapping > 0 && pages > mapping) {
    throw new ValueError("--pages", pages, `at most the ${mapping} of --mapping, or --mapping 0`);
  }
  const turns = Math.max(1, Math.floor(mapping / pages));
  return { bytes: pages * PAGE_SIZE, turns, remaps: mapping > 0, reads: parameters.isOn("read") };
}

function* once(
  user: UserThread,
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  { bytes, reads }: Turn,
): KernelCode<void> {
  const end = start + bytes;
  for (let la = start; la < end; la += PAGE_SIZE) yield* user.faultIn(la);
  yield* user.call(madviseDontneed(spaces, mm, start, end));
  for (let la = start; reads && la < end; la += PAGE_SIZE) yield* user.faultIn(la, false);
}

function measure(
  { parameters, preset, boot }: ExperimentContext,
  policy: FlushPolicy,
  threads: number,
  turn: Turn,
): Row<typeof COLUMNS> {
  const cpus = parameters.number("cpus") || threads;
  const kernel = boot(cpus, `${policy.name}, ${counted(threads, "thread")}`, { flushPolicy: policy });
  const { loop } = kernel.machine;
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const loops = parameters.number("loops");
  const times = new LoopTimes(loop, loops);
  function* body(cpu: number): KernelCode<void> {
    const user = new UserThread(spaces, mm);
    const mapping = START + cpu * turn.turns * turn.bytes;
    const mappingEnd = mapping + turn.turns * turn.bytes;
    let next = Math.floor((cpu * turn.turns) / threads);
    yield* user.call(mmap(spaces, mm, mapping, mappingEnd));
    for (let i = 0; i < loops; i++) {
      times.begins(i);
      while (loop.mustYield()) yield PAUSE_TURN;
      yield* once(user, spaces, mm, mapping + next * turn.bytes, turn);
      next++;
      if (next < turn.turns) continue;
      next = 0;
      if (!turn.remaps) continue;
      yield* user.call(munmap(spaces, mm, mapping, mappingEnd));
      yield* user.call(mmap(spaces, mm, mapping, mappingEnd));
    }
    times.ends();
  }
  for (let cpu = 0; cpu < threads; cpu++) {
    kernel.spawn(
      `thread/${cpu}`,
      cpu,
      new UserThread(spaces, mm).run(() => body(cpu)),
    );
  }
  kernel.runUntilIdle();
  let cycles = 0;
  let perSecond = 0;
  for (let cpu = 0; cpu < threads; cpu++) {
    const own = times.cyclesOf(cpu);
    cycles += own / threads;
    perSecond += (preset.frequencyGhz.value * 1e9) / own;
  }
  return {
    policy: policy.name,
    threads,
    loopsPerSecond: Math.round(perSecond),
    loopUsec: Math.round(cycles / preset.frequencyGhz.value) / 1000,
    loopCycles: Math.round(cycles),
    ...times.shares.percents(),
  };
}
