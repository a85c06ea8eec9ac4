import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/index.ts";
import { IPI_POLICY } from "../../../mm/index.ts";
import { boot, on, runningOn, TEXT, touchAll } from "./user-machine.ts";

describe("the counters of /proc/vmstat", () => {
  it("count flushes that interrupt others once, each taken one, and pages or all of them on the own CPU", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 3, 0);
    const { vmstat } = kernel.mm.flushing;
    const shootdowns = [...spaces.shootdowns];
    const before = { ...vmstat };
    kernel.run(spaces.flushTlbMmRange(mm, TEXT, TEXT + 3 * PAGE_SIZE, false), 0);
    expect(vmstat).toMatchObject({
      remoteFlush: before.remoteFlush + 1,
      remoteFlushReceived: before.remoteFlushReceived + 2,
      localFlushOne: before.localFlushOne + 3,
      localFlushAll: before.localFlushAll,
    });
    kernel.run(spaces.flushTlbMmRange(mm, TEXT, TEXT + 1000 * PAGE_SIZE, false), 0);
    expect(vmstat).toMatchObject({
      remoteFlush: before.remoteFlush + 2,
      remoteFlushReceived: before.remoteFlushReceived + 4,
      localFlushOne: before.localFlushOne + 3,
      localFlushAll: before.localFlushAll + 1,
    });
    expect([...spaces.shootdowns].map((count, cpu) => count - shootdowns[cpu])).toEqual([0, 2, 2, 0, 0]);
  });

  it("do not count an interrupt for an address space that is loaded nowhere else", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const before = { ...kernel.mm.flushing.vmstat };
    kernel.run(spaces.flushTlbMmRange(mm, TEXT, TEXT + PAGE_SIZE, false), 0);
    const { vmstat } = kernel.mm.flushing;
    expect(vmstat).toMatchObject({ ...before, localFlushOne: before.localFlushOne + 1 });
  });
});

describe("page-table isolation with PCIDs", () => {
  it("keeps what is cached on both sides of the way into the kernel and back", () => {
    const machine = boot(IPI_POLICY, { pageTableIsolation: true });
    const { kernel } = machine;
    const mm = runningOn(machine, 1, 0);
    touchAll(machine, 1);
    const [cpu] = kernel.machine.cpus;
    const address = kernel.vmalloc(PAGE_SIZE);
    const walks = (): number => cpu.counters()["dtlb_load_misses.walk_completed"];
    const { userMode } = kernel.mm.flushing;
    on(machine, 0, () => {
      userMode.enterUser();
      cpu.touch(TEXT);
      userMode.enterKernel();
      cpu.touch(address);
      const before = walks();
      for (let i = 0; i < 3; i++) {
        userMode.enterUser();
        cpu.touch(TEXT);
        userMode.enterKernel();
        cpu.touch(address);
      }
      expect(walks()).toBe(before);
    });
    expect(mm.cpus()).toEqual([0]);
  });
});
