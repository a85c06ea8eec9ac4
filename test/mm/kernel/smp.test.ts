import { describe, expect, it } from "vitest";
import {
  ACTIVITY_IPI_WAIT,
  ACTIVITY_LINE_WAIT,
  EventLoop,
  type KernelCode,
  PAUSE_TURN,
  Topology,
  type TopologyConfig,
} from "../../../arch/index.ts";
import { type CallBill, DEFAULT_KERNEL_COSTS, type DestinationMode, type IpiCosts, Smp } from "../../../mm/index.ts";

const COSTS: IpiCosts = {
  destinationMode: "physical",
  sendCycles: 100,
  latencyCycles: [0, 500, 1000, 1000, 2000, 3000],
  entryCycles: 50,
  exitCycles: 25,
  idleWakeCycles: 0,
};
/** What a line takes from another core. */
const LINE = 7;
/** What a target waits for before it can begin: its queue, the request, and what is asked. */
const TARGET_LINES = 3 * LINE;

class Bill implements CallBill {
  workCycles = 0;
  waitCycles = 0;
  lineCycles = 0;
  readonly stolenFrom = new Map<number, number>();
  stolen(cpu: number, cycles: number): void {
    this.stolenFrom.set(cpu, cycles);
  }
}

function machine(cpus: number, costs: Partial<IpiCosts> = {}, topology?: TopologyConfig) {
  const loop = new EventLoop(cpus, new Topology(cpus, topology));
  loop.lines.transferCycles = [0, LINE, LINE, LINE, LINE, LINE];
  return { loop, smp: new Smp(loop, { ...COSTS, ...costs }) };
}

describe("calls between CPUs", () => {
  it("cost the sender its commands and its wait, each target its handler, and end with the last acknowledgement", () => {
    const { loop, smp } = machine(3);
    const bill = new Bill();
    const ranAt: number[] = [];
    const handler = (cpu: number): void => {
      ranAt[cpu] = loop.nowCycles();
      loop.spend(200);
    };
    loop.runSync(0, smp.onEachCpu(handler, bill));
    // Two commands, then the sender's own part.
    expect(bill.workCycles).toBe(2 * 100 + 200);
    // The requests come first, the commands were written at 114 and 214: one latency later entry and lines, then the handler.
    expect(ranAt).toEqual([214, 114 + 1000 + 50 + TARGET_LINES, 214 + 1000 + 50 + TARGET_LINES]);
    // The last is done at 1485 and acknowledges a line later; its line takes 7 more, that of the other came before.
    expect(loop.clockCycles[0]).toBe(1485 + 2 * LINE);
    expect(bill.waitCycles).toBe(1499 - 414);
    expect(loop.accounts.cycles(0, ACTIVITY_IPI_WAIT)).toBe(bill.waitCycles);
    expect([...bill.stolenFrom]).toEqual([
      [1, 275],
      [2, 275],
    ]);
    expect(bill.lineCycles).toBe(2 * LINE + 2 * (TARGET_LINES + LINE));
    expect([0, 1, 2].reduce((sum, cpu) => sum + loop.accounts.cycles(cpu, ACTIVITY_LINE_WAIT), 0)).toBe(
      bill.lineCycles,
    );
  });

  it("write the command register once a target, once a cluster of 16, or once for all", () => {
    const commands = (cpus: number, destinationMode: DestinationMode): number => {
      const { loop, smp } = machine(cpus, { destinationMode });
      const bill = new Bill();
      loop.runSync(
        0,
        smp.onEachCpu(() => {}, bill),
      );
      return bill.workCycles / COSTS.sendCycles;
    };
    expect(commands(64, "physical")).toBe(63);
    expect(commands(64, "cluster")).toBe(4);
    expect(commands(64, "shorthand")).toBe(1);
  });

  it("reach some of the CPUs with one command each: the shorthand means all but the sender", () => {
    const commands = (mask: number[]): number => {
      const { loop, smp } = machine(8, { destinationMode: "shorthand" });
      const bill = new Bill();
      const ran: number[] = [];
      loop.runSync(
        0,
        smp.onEachCpuMask(mask, (cpu) => ran.push(cpu), bill),
      );
      expect(ran.sort()).toEqual(mask);
      return bill.workCycles / COSTS.sendCycles;
    };
    expect(commands([1, 2, 3, 4, 5, 6])).toBe(6);
    expect(commands([1, 2, 3, 4, 5, 6, 7])).toBe(1);
    expect(commands([0, 1, 2, 3, 4, 5, 6, 7])).toBe(1);
    expect(commands([3])).toBe(1);
  });

  it("end when the sender has read every acknowledgement, one line after the other, in the order of the CPUs", () => {
    const { loop, smp } = machine(5);
    const bill = new Bill();
    const own = 100_000;
    loop.runSync(
      0,
      smp.onEachCpu((cpu) => loop.spend(cpu === 0 ? own : 10), bill),
    );
    // All have acknowledged long before the sender looks: four lines to fetch, nothing to wait for but these.
    expect(bill.waitCycles).toBe(4 * LINE);
    const late = machine(4);
    const lateBill = new Bill();
    const runs = [0, 50_000, 10, 10];
    late.loop.runSync(
      0,
      late.smp.onEachCpu((cpu) => late.loop.spend(runs[cpu]), lateBill),
    );
    // The sender looks at CPU 1 first, which is the last: the lines of CPUs 2 and 3 are read after it.
    const acknowledged = 3 * LINE + 100 + 1000 + 50 + TARGET_LINES + 50_000 + LINE;
    expect(late.loop.clockCycles[0]).toBe(acknowledged + 3 * LINE);
  });

  it("book to the call only what it caused: not flushes that were put off until the interrupt, nor those at its end", () => {
    const stolen = (entry: number, exit: number): number | undefined => {
      const { loop, smp } = machine(2);
      const bill = new Bill();
      const spent = (cycles: number) => () => {
        loop.spend(cycles);
        return cycles;
      };
      smp.onKernelEntry = spent(entry);
      smp.onKernelExit = spent(exit);
      loop.runSync(
        0,
        smp.onEachCpu(() => loop.spend(30), bill),
      );
      return bill.stolenFrom.get(1);
    };
    const own = COSTS.entryCycles + 30 + COSTS.exitCycles;
    expect(stolen(0, 0)).toBe(own);
    expect(stolen(4000, 0)).toBe(own);
    expect(stolen(0, 700)).toBe(own);
  });

  it("take longer to a farther CPU", () => {
    const topology = { sockets: 2, coresPerSocket: 1, threadsPerCore: 2 };
    const arrival = (target: number): number => {
      const { loop, smp } = machine(4, {}, topology);
      loop.runSync(
        0,
        smp.onEachCpuMask([target], () => {}),
      );
      return loop.clockCycles[0];
    };
    expect(arrival(2)).toBeLessThan(arrival(1));
    expect(arrival(1)).toBe(arrival(3));
  });

  it("wait for an acknowledgement that disabled interrupts delay", () => {
    const { loop, smp } = machine(2);
    const bill = new Bill();
    function* critical(): KernelCode<void> {
      loop.disableInterrupts();
      loop.spend(50_000);
      yield PAUSE_TURN;
      loop.enableInterrupts();
      yield PAUSE_TURN;
    }
    loop.spawn("critical", 1, critical());
    loop.spawn(
      "sender",
      0,
      smp.onEachCpu(() => {}, bill),
    );
    loop.run();
    expect(loop.clockCycles[0]).toBe(50_000 + COSTS.entryCycles + TARGET_LINES + 2 * LINE);
    expect(bill.waitCycles).toBeGreaterThan(49_000);
  });

  it("let two CPUs call each other at the same time", () => {
    const { loop, smp } = machine(2);
    const ran: number[] = [];
    loop.spawn(
      "a",
      0,
      smp.onEachCpu((cpu) => ran.push(cpu)),
    );
    loop.spawn(
      "b",
      1,
      smp.onEachCpu((cpu) => ran.push(cpu)),
    );
    loop.run();
    expect(ran.sort()).toEqual([0, 0, 1, 1]);
  });

  it("send no second interrupt to a CPU that has one under way", () => {
    const { loop, smp } = machine(3);
    const ran: number[] = [];
    loop.spawn(
      "a",
      0,
      smp.onEachCpuMask([2], () => ran.push(0)),
    );
    loop.spawn(
      "b",
      1,
      smp.onEachCpuMask([2], () => ran.push(1)),
    );
    loop.run();
    expect(ran).toEqual([0, 1]);
    expect(smp.sent).toBe(1);
    expect(smp.taken[2]).toBe(1);
  });

  it("read the head of a target's queue before they exchange it, and note in a request that it is done before the interrupt ends", () => {
    const { loop, smp } = machine(2);
    const handler = (): void => undefined;
    const bill = new Bill();
    loop.runSync(0, smp.onEachCpuMask([0, 1], handler));
    const waited = [...loop.lines.waitedCycles];
    loop.runSync(0, smp.onEachCpuMask([0, 1], handler, bill));
    // Of the sender: a copy of the head, beside which its stores to what it asks and to its request are under way, then the head alone. Of the target: the
    // head, a copy of the request and of what is asked, the request alone.
    expect([...loop.lines.waitedCycles].map((cycles, cpu) => cycles - waited[cpu])).toEqual([2 * LINE, 4 * LINE]);
    expect(bill.lineCycles).toBe(6 * LINE);
  });

  it("have the sender wait for its stores before it exchanges the head of a queue, where these take longer than to read it", () => {
    const { loop, smp } = machine(4, {}, { sockets: 2, coresPerSocket: 2, threadsPerCore: 1 });
    const handler = (): void => undefined;
    loop.lines.transferCycles = [0, LINE, LINE, LINE, 9 * LINE, 9 * LINE];
    const near = 1;
    const far = 3;
    expect(loop.topology.distance(0, near)).toBeLessThan(loop.topology.distance(0, far));
    loop.runSync(0, smp.onEachCpuMask([0, near, far], handler));
    const waited = loop.lines.waitedCycles[0];
    loop.runSync(0, smp.onEachCpuMask([0, near], handler));
    // The far CPU has a copy of what was asked before: until that is gone the near one's queue is not exchanged.
    expect(loop.lines.waitedCycles[0] - waited).toBe(9 * LINE + LINE);
  });

  it("are free on one CPU, but for its own part", () => {
    const { loop, smp } = machine(1, DEFAULT_KERNEL_COSTS.ipi);
    loop.runSync(
      0,
      smp.onEachCpu(() => loop.spend(5)),
    );
    expect(loop.clockCycles[0]).toBe(5);
  });
});
