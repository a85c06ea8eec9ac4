/** `guest-shootdown`: what a flush costs a guest, some of whose vCPUs do not run when it is made. */
import { compute, type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../arch/index.ts";
import {
  type FlushPolicy,
  type FlushRecord,
  type MmStruct,
  mmapPopulate,
  mprotect,
  UserSpaces,
} from "../../mm/index.ts";
import { GUEST_PAGE_SIZES, type GuestPageSize } from "../guests/hypervisor.ts";
import { ValueError } from "../input/errors.ts";
import type { ParameterReader } from "../input/parameter-reader.ts";
import type { Kernel } from "../machine/kernel.ts";
import { type Random, randomStream } from "../machine/random.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { plotByKind } from "./base/plot.ts";
import { policiesOf, policiesParameter } from "./base/policies.ts";
import { DataTable, type Row } from "./base/table.ts";
import { UserThread } from "./user-flush/user-thread.ts";

const START = 0x10_0000_0000;
const PREEMPTED = [0, 1, 2, 4, 7];
/** Cycles between two looks at whether all vCPUs that are to be preempted are. */
const LOOK_CYCLES = 20_000;
/** Calls after which a process has a global ASID if it ever gets one: it is considered at every 32nd flush. */
const ASID_CALLS_MAX = 100;

const COLUMNS = {
  policy: { heading: "policy", text: true },
  preempted: { heading: "preempted", axis: "vCPUs that do not run" },
  latencyUsec: { heading: "us a call", axis: "microseconds of a call" },
  latencyMaxUsec: { heading: "us, longest" },
  latencyCycles: { heading: "cycles a call" },
  waitCycles: { heading: "waits (cycles)" },
  stolenCycles: { heading: "stolen by the flush (cycles)" },
  interrupts: { heading: "interrupts" },
  skipped: { heading: "skipped" },
  exits: { heading: "VM exits" },
} as const;
type ShootdownRow = Row<typeof COLUMNS>;

/** The experiment. */
export const guestShootdown: Experiment = {
  name: "guest-shootdown",
  summary: "a flush in a guest while none to all of the other vCPUs do not run, by policy",
  description: `Thread 0 of a process in a guest takes the right to write pages away (mprotect), with a thread of the process on each other vCPU. Some of these share their
physical CPU with a vCPU that runs something else, and the call is made when all of them have lost it, at a random time of the slice
of the others. 'stolen' is what handlers, VM exits and flushes took from other vCPUs for one call, 'skipped' how many of them were
marked to flush at their next entry, and VM exits are those of all vCPUs of the guest during the call.`,
  parameters: [
    { name: "vcpus", kind: "integer", low: 2, high: 256, default: 8, summary: "vCPUs of the process" },
    {
      name: "preempted",
      kind: "integers",
      low: 0,
      high: 255,
      default: PREEMPTED,
      summary: "of these, how many do not run; less than vcpus",
    },
    policiesParameter(["ipi", "kvm", "hyperv"]),
    { name: "pages", kind: "integer", unit: "pages", low: 1, high: 4096, default: 4, summary: "pages of a call" },
    {
      name: "host_pages",
      kind: "word",
      words: GUEST_PAGE_SIZES,
      default: "4K",
      summary: "pages of the host",
    },
    { name: "rounds", kind: "integer", low: 1, high: 10_000, default: 20, summary: "calls that are counted" },
  ],
  settings: ["kernel", "pti", "mitigations", "idle-states", "flush-ceiling", "ipi-mode"],
  runsGuests: true,
  example: "mmulab experiment guest-shootdown --vcpus 4 --preempted 0-3 --policies ipi,kvm",
  headline: "latencyUsec",
  sensitivityParameters: { vcpus: "8", preempted: "0,1", rounds: "3" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const policies = policiesOf(parameters);
  const vcpus = parameters.number("vcpus");
  const counts = preemptedOf(parameters, vcpus);
  const plan = policies.flatMap((policy) => counts.map((preempted) => ({ policy, preempted })));
  const label = ({ policy, preempted }: (typeof plan)[number]): string => `${policy.name}, ${preempted} preempted`;
  const rows = context.points.each(plan, label, (point) => {
    onProgress(plan.indexOf(point), plan.length, label(point));
    return measure(context, point.policy, point.preempted);
  });
  const table = new DataTable("shootdowns", `mprotect on one of ${counted(vcpus, "vCPU")}`, COLUMNS, rows);
  const style = { title: "Latency of a call", xLog: false, yLog: true };
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "preempted", "latencyUsec", style, ({ policy }) => policy)],
    findings: [...new Set(policies.map((policy) => finding(rows.filter((row) => row.policy === policy.name))))],
  };
}

/** Numbers of vCPUs that do not run; of those that nobody chose, all that are possible. @throws ValueError for as many as there are, or more */
function preemptedOf(parameters: ParameterReader, vcpus: number): readonly number[] {
  const counts = parameters.list("preempted");
  const possible = counts.filter((preempted) => preempted < vcpus);
  if (counts.join() === PREEMPTED.join()) return possible;
  const [tooMany] = counts.filter((preempted) => preempted >= vcpus);
  if (tooMany === undefined) return counts;
  throw new ValueError(
    "--preempted",
    tooMany,
    `at most ${vcpus - 1} of --vcpus ${vcpus}: the one that makes the calls runs`,
  );
}

function finding(rows: readonly ShootdownRow[]): string {
  const [first] = rows;
  const last = rows[rows.length - 1];
  return `${first.policy}: ${first.latencyUsec} us a call with ${counted(first.preempted, "vCPU")} preempted, ${last.latencyUsec} us with ${last.preempted}.`;
}

function measure(context: ExperimentContext, policy: FlushPolicy, preempted: number): ShootdownRow {
  const { parameters, preset, boot } = context;
  const vcpus = parameters.number("vcpus");
  const hostPages = parameters.word("host_pages") as GuestPageSize;
  // vCPU n shares the physical CPU of vCPU n - vcpus; the one that would share the caller's has nothing to do.
  const all = preempted === 0 ? vcpus : vcpus + preempted + 1;
  const guest = { physicalCpus: vcpus, hostPages, costs: context.settings.figures?.hypervisorCosts };
  const kernel = boot(all, `${policy.name}, ${preempted} preempted`, { flushPolicy: policy, guest });
  const process = new ShootdownProcess(kernel, vcpus, preempted, parameters.number("pages"));
  const calls = process.calls(parameters.number("rounds"), randomStream(context.seed));
  const usec = (cycles: number): number => Math.round(cycles / preset.frequencyGhz.value) / 1000;
  const mean = (of: (call: Call) => number): number => calls.reduce((sum, call) => sum + of(call), 0) / calls.length;
  return {
    policy: policy.name,
    preempted,
    latencyUsec: usec(mean(({ cycles }) => cycles)),
    latencyMaxUsec: usec(Math.max(...calls.map(({ cycles }) => cycles))),
    latencyCycles: Math.round(mean(({ cycles }) => cycles)),
    waitCycles: Math.round(mean(({ flush }) => flush.waitCycles)),
    stolenCycles: Math.round(mean(({ flush }) => flush.stolenCycles)),
    interrupts: Math.round(10 * mean(({ flush }) => flush.interrupted)) / 10,
    skipped: Math.round(10 * mean(({ flush }) => flush.deferred)) / 10,
    exits: Math.round(10 * mean(({ exits }) => exits)) / 10,
  };
}

/** One call, and the flush that it made: what vCPUs that were skipped pay later is known in the end. */
interface Call {
  readonly cycles: number;
  readonly exits: number;
  readonly flush: FlushRecord;
}

/** The process, and what runs beside it. */
class ShootdownProcess {
  private readonly kernel: Kernel;
  private readonly vcpus: number;
  private readonly preempted: number;
  private readonly pages: number;
  private readonly spaces: UserSpaces;
  private readonly mm: MmStruct;
  private isDone = false;

  constructor(kernel: Kernel, vcpus: number, preempted: number, pages: number) {
    this.kernel = kernel;
    this.vcpus = vcpus;
    this.preempted = preempted;
    this.pages = pages;
    this.spaces = new UserSpaces(kernel.mm);
    this.mm = this.spaces.mmAlloc();
  }

  /** Makes calls, one more than are returned: the first is not counted. */
  calls(rounds: number, random: Random): Call[] {
    const { kernel, vcpus, preempted } = this;
    const calls: Call[] = [];
    const caller = this.caller(rounds, random, calls);
    kernel.spawn(
      "caller",
      0,
      new UserThread(this.spaces, this.mm).run(() => caller),
    );
    for (let cpu = 1; cpu < vcpus; cpu++) kernel.spawn(`busy/${cpu}`, cpu, this.busy());
    for (let i = 1; i <= preempted; i++) kernel.spawn(`other/${i}`, vcpus + i, this.other());
    kernel.runUntilIdle();
    return calls;
  }

  private *caller(rounds: number, random: Random, calls: Call[]): KernelCode<void> {
    const { kernel, spaces, mm, pages } = this;
    const { loop } = kernel.machine;
    const { records } = kernel.vm.flushing.keepAccounts();
    const user = new UserThread(spaces, mm);
    const end = START + pages * PAGE_SIZE;
    yield* user.call(mmapPopulate(spaces, mm, START, pages));
    yield* this.waitForGlobalAsid(end);
    for (let round = 0; round <= rounds; round++) {
      yield* this.waitForOthers(random);
      while (loop.mustYield()) yield PAUSE_TURN;
      const first = records.length;
      const before = this.exits();
      const cycles = yield* user.call(mprotect(spaces, mm, START, end, false));
      if (round > 0) calls.push({ cycles, exits: this.exits() - before, flush: records[first] });
      yield* user.call(mprotect(spaces, mm, START, end, true));
    }
    this.isDone = true;
  }

  /**
   * With hardware broadcast, calls until the process has the ASID that this needs; they flush by interrupts still. A process gets one when
   * it has run on several CPUs for some flushes.
   */
  private *waitForGlobalAsid(end: number): KernelCode<void> {
    const { kernel, spaces, mm } = this;
    if (kernel.mm.flushing.policy.usesInvlpgb !== true) return;
    const user = new UserThread(spaces, mm);
    for (let call = 0; call < ASID_CALLS_MAX && (mm.globalAsid === 0 || mm.inAsidTransition); call++)
      yield* user.call(mprotect(spaces, mm, START, end, call % 2 !== 0));
    yield* user.call(mprotect(spaces, mm, START, end, true));
  }

  /** Until all have run, and then those that are to be preempted are, at a random time of the slice. */
  private *waitForOthers(random: Random): KernelCode<void> {
    const { machine, host } = this.kernel;
    const { loop, preset } = machine;
    const { currentThread } = loop;
    if (currentThread === null || host === null) return;
    const looks = Math.ceil((host.costs.slice.value * preset.frequencyGhz.value) / LOOK_CYCLES);
    const wanted = (): boolean => this.all((cpu) => cpu <= this.preempted);
    while (!this.all(() => false)) yield* compute(currentThread, LOOK_CYCLES);
    do {
      while (!wanted()) yield* compute(currentThread, LOOK_CYCLES);
      yield* compute(currentThread, LOOK_CYCLES * random.between(0, looks));
    } while (!wanted());
  }

  /** Whether the other vCPUs of the process do not run just where they are not to. */
  private all(isPreempted: (cpu: number) => boolean): boolean {
    const { host } = this.kernel.vm.flushing;
    for (let cpu = 1; cpu < this.vcpus; cpu++) if (host?.isPreempted(cpu) !== isPreempted(cpu)) return false;
    return true;
  }

  private exits(): number {
    return this.kernel.machine.cpus.reduce((sum, cpu) => sum + (cpu.counters().vm_exits ?? 0), 0);
  }

  private *busy(): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const { userMode } = this.kernel.mm.flushing;
    this.spaces.switchTo(this.mm);
    userMode.enterUser();
    while (!this.isDone && loop.currentThread !== null) yield* compute(loop.currentThread, LOOK_CYCLES);
    userMode.enterKernel();
  }

  private *other(): KernelCode<void> {
    const { loop } = this.kernel.machine;
    while (!this.isDone && loop.currentThread !== null) yield* compute(loop.currentThread, LOOK_CYCLES);
  }
}
