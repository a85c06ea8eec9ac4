/** Lines of shared data: who has them, what fetching them costs, and who queues for them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_LINE_WAIT,
  ACTIVITY_OTHER,
  EventLoop,
  type KernelCode,
  PAUSE_TURN,
  Topology,
} from "../../../arch/index.ts";

const [CORE, CLUSTER, SOCKET, REMOTE] = [10, 40, 100, 300];

/** Two sockets of two clusters of two cores. */
function machine(cpus = 8) {
  const shape = { sockets: 2, coresPerSocket: 4, threadsPerCore: 1, coresPerCluster: 2 };
  const loop = new EventLoop(cpus, new Topology(cpus, shape));
  loop.lines.transferCycles = [0, CORE, CLUSTER, SOCKET, REMOTE, 2 * REMOTE];
  const line = loop.lines.make(1);
  /** What an access of a CPU costs at a time when nobody else wants the line. */
  let now = 0;
  const cost = (cpu: number, access: "read" | "write"): number => {
    now += 1_000_000;
    loop.currentCpu = cpu;
    loop.clockCycles[cpu] = now;
    loop.lines[access](line);
    return loop.clockCycles[cpu] - now;
  };
  return { loop, line, cost };
}

describe("a line of shared data", () => {
  it("costs nothing to the CPU that has it, to read or to write", () => {
    const { cost } = machine();
    expect([cost(0, "write"), cost(0, "read"), cost(0, "write")]).toEqual([0, 0, 0]);
  });

  it("comes from where the CPU is that wrote it: the cluster, the socket, another socket", () => {
    const { cost } = machine();
    cost(0, "write");
    expect([cost(1, "write"), cost(2, "write"), cost(4, "write"), cost(4, "write")]).toEqual([
      CLUSTER,
      SOCKET,
      REMOTE,
      0,
    ]);
  });

  it("can be read by many, from the one that read it last; to write it waits for the farthest copy to go", () => {
    const { cost } = machine();
    cost(0, "write");
    expect([cost(4, "read"), cost(5, "read"), cost(0, "read"), cost(5, "read")]).toEqual([REMOTE, CLUSTER, 0, 0]);
    expect(cost(0, "write")).toBe(REMOTE);
    expect(cost(5, "read")).toBe(REMOTE);
    expect([cost(0, "write"), cost(0, "write")]).toEqual([REMOTE, 0]);
  });

  it("goes back to a CPU that polls it, which costs that one nothing, and whoever writes it next as much as if it had read it", () => {
    const { loop, line, cost } = machine();
    const polled = (): void => {
      const before = [...loop.clockCycles];
      loop.lines.poll(line, 4);
      expect([...loop.clockCycles]).toEqual(before);
    };
    polled();
    expect([cost(4, "write"), cost(0, "write")]).toEqual([0, REMOTE]);
    polled();
    expect([cost(0, "read"), cost(0, "write"), cost(0, "write")]).toEqual([0, REMOTE, 0]);
    cost(1, "read");
    polled();
    polled();
    // From the one that read it last, and all copies go.
    expect([cost(5, "read"), cost(0, "write"), cost(4, "read")]).toEqual([CLUSTER, REMOTE, REMOTE]);
  });

  it("is handed to one CPU after the other when several want it at once", () => {
    const { loop, line } = machine();
    loop.lines.write(line);
    for (const cpu of [1, 2, 3]) {
      loop.currentCpu = cpu;
      loop.clockCycles[cpu] = 1000;
      loop.lines.write(line);
    }
    // From CPU 0 within its cluster; from 1 and from 2, each behind those before it.
    expect([...loop.clockCycles.slice(1, 4)]).toEqual([
      1000 + CLUSTER,
      1000 + CLUSTER + SOCKET,
      1000 + CLUSTER + SOCKET + CLUSTER,
    ]);
    // A CPU whose time is before all that does not wait for what lies in its future.
    loop.currentCpu = 5;
    loop.clockCycles[5] = 200;
    loop.lines.write(line);
    expect(loop.clockCycles[5]).toBe(200 + REMOTE);
    // One that comes at that time too waits for it.
    loop.currentCpu = 6;
    loop.clockCycles[6] = 250;
    loop.lines.write(line);
    expect(loop.clockCycles[6]).toBe(200 + REMOTE + SOCKET);
  });

  it("that is occupied keeps each CPU waiting for all who came before it, and those who came later are put behind it", () => {
    const { loop, line } = machine();
    loop.lines.transferCycles = [0, 0, 0, 0, 0, 0];
    const occupy = (cpu: number, at: number): number => {
      loop.currentCpu = cpu;
      loop.clockCycles[cpu] = at;
      loop.lines.occupy(line, 100);
      return loop.clockCycles[cpu];
    };
    expect([occupy(0, 1000), occupy(1, 1010), occupy(2, 1005)]).toEqual([1100, 1200, 1200]);
    expect(loop.clockCycles[1]).toBe(1300);
    expect(loop.accounts.cycles(1, ACTIVITY_LINE_WAIT)).toBe(190);
    expect([occupy(3, 500), occupy(4, 550), occupy(5, 1250)]).toEqual([600, 700, 1400]);
  });

  it("that is stored to comes while the CPU goes on, several side by side; a locked instruction waits until all are there", () => {
    const { loop } = machine();
    const { lines, clockCycles } = loop;
    const far = lines.make(2);
    loop.currentCpu = 4;
    lines.write(far);
    lines.write(far + 1);
    loop.currentCpu = 0;
    clockCycles[0] = 1000;
    lines.store(far);
    loop.spend(50);
    lines.store(far + 1);
    lines.store(far + 1);
    lines.read(far);
    expect(clockCycles[0]).toBe(1050);
    lines.drainStores();
    expect(clockCycles[0]).toBe(1050 + REMOTE);
    expect(lines.waitedCycles[0]).toBe(REMOTE);
    lines.drainStores();
    expect(clockCycles[0]).toBe(1050 + REMOTE);
    lines.storeTakenOver(2);
    lines.write(far);
    expect(clockCycles[0]).toBe(1050 + REMOTE);
    lines.write(lines.make(1));
    lines.drainStores();
    expect(clockCycles[0]).toBe(1050 + REMOTE + SOCKET);
  });

  it("that is stored to does not keep a handler waiting which came before the store, and is there later by what that took", () => {
    const { loop, line } = machine();
    const { lines, clockCycles } = loop;
    loop.currentCpu = 4;
    lines.write(line);
    const handled: number[] = [];
    function* stores(): KernelCode<void> {
      loop.spend(1000);
      lines.store(line);
      yield PAUSE_TURN;
      lines.drainStores();
    }
    loop.spawn("stores", 0, stores());
    loop.postInterrupt(0, 500, () => {
      lines.drainStores();
      handled.push(loop.nowCycles());
      loop.spend(20);
    });
    loop.run();
    expect(handled).toEqual([500]);
    expect(clockCycles[0]).toBe(1020 + REMOTE);
  });

  it("is waited for in an account of its own", () => {
    const { loop, cost } = machine();
    cost(0, "write");
    cost(4, "write");
    expect(loop.accounts.cycles(4, ACTIVITY_LINE_WAIT)).toBe(REMOTE);
    expect(loop.accounts.cycles(4, ACTIVITY_OTHER)).toBe(loop.clockCycles[4] - REMOTE);
  });
});

describe("many lines and CPUs", () => {
  const accesses = fc.array(fc.tuple(fc.nat(7), fc.nat(3), fc.boolean(), fc.nat(200)), { maxLength: 200 });

  it("agree with a plain model of MESI: a set of CPUs that have each line, and what it costs to change it", () => {
    fc.assert(
      fc.property(accesses, (steps) => {
        const { loop } = machine();
        const first = loop.lines.make(4);
        const copies = Array.from({ length: 4 }, () => new Set<number>());
        const last: number[] = [];
        let time = 0;
        for (const [cpu, line, isWrite] of steps) {
          time += 10_000;
          loop.currentCpu = cpu;
          loop.clockCycles[cpu] = time;
          const distance = (from: number) => loop.lines.transferCycles[loop.topology.distance(from, cpu)];
          const others = [...copies[line]].filter((other) => other !== cpu);
          const has = copies[line].has(cpu);
          let expected = 0;
          if (isWrite) {
            expected = others.length === 0 ? 0 : Math.max(...others.map(distance));
            copies[line] = new Set([cpu]);
          } else if (!has) {
            expected = others.length === 0 ? 0 : distance(last[line]);
            copies[line].add(cpu);
          }
          if (isWrite || !has) last[line] = cpu;
          if (isWrite) loop.lines.write(first + line);
          else loop.lines.read(first + line);
          expect(loop.clockCycles[cpu] - time).toBe(expected);
        }
      }),
    );
  });

  it("are the same after they were saved and restored", () => {
    fc.assert(
      fc.property(accesses, accesses, (before, after) => {
        const run = (loop: EventLoop, first: number, steps: typeof before): void => {
          for (const [cpu, line, isWrite, cycles] of steps) {
            loop.currentCpu = cpu;
            loop.spend(cycles);
            if (isWrite) loop.lines.write(first + line);
            else loop.lines.read(first + line);
          }
        };
        const [saved, restored] = [machine(), machine()];
        const first = saved.loop.lines.make(4);
        restored.loop.lines.make(4);
        run(saved.loop, first, before);
        restored.loop.clockCycles.set(saved.loop.clockCycles);
        restored.loop.lines.restore(saved.loop.lines.capture());
        // What was before is over for both, as when anything is called from outside.
        saved.loop.interrupts.beginRun();
        run(saved.loop, first, after);
        run(restored.loop, first, after);
        expect([...restored.loop.clockCycles]).toEqual([...saved.loop.clockCycles]);
        expect(restored.loop.lines.capture()).toEqual(saved.loop.lines.capture());
      }),
    );
  });
});
