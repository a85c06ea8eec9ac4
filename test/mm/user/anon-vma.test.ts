/** Which faults take `mmap_lock` because their mapping has had no page of its own yet (`anon_vma`), in each version. */
import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import { handlePteFault, IPI_POLICY, mmap } from "../../../mm/index.ts";
import { mmapWriteLock, mmapWriteUnlock } from "../../../mm/user/mmap-lock.ts";
import { boot, runningOn, TEXT } from "./user-machine.ts";

const HELD_CYCLES = 300_000;
const START = TEXT + 2 ** 30;

/** What was done to a page of the mapping; `w` writes, `r` reads. */
type Access = "r" | "w";

/**
 * Whether a fault waits for a writer of `mmap_lock` that changes something else, once other pages of its mapping have been used.
 * @param fault of a page that nobody has used; `wp`: a write to one that has been read
 */
function waits(version: string, before: readonly Access[], fault: Access | "wp"): boolean {
  const machine = boot(IPI_POLICY, { kernel: version });
  const { kernel, spaces } = machine;
  const { loop } = kernel.machine;
  const mm = runningOn(machine, 2, 0);
  kernel.run(mmap(spaces, mm, START, START + 16 * PAGE_SIZE), 1);
  before.forEach((access, page) => {
    kernel.run(handlePteFault(spaces, mm, START + page * PAGE_SIZE, access === "w"), 1);
  });
  const la = START + 8 * PAGE_SIZE;
  if (fault === "wp") kernel.run(handlePteFault(spaces, mm, la, false), 1);
  let [givenBackAt, doneAt] = [0, 0];
  function* writer(): KernelCode<void> {
    yield* mmapWriteLock(spaces, mm, [TEXT, TEXT + PAGE_SIZE]);
    loop.spend(HELD_CYCLES);
    while (loop.mustYield()) yield PAUSE_TURN;
    givenBackAt = loop.nowCycles();
    mmapWriteUnlock(mm);
  }
  function* faulting(): KernelCode<void> {
    loop.spend(HELD_CYCLES / 2);
    yield PAUSE_TURN;
    expect(yield* handlePteFault(spaces, mm, la, fault !== "r")).toBe(0);
    doneAt = loop.nowCycles();
  }
  kernel.spawn("writer", 0, writer());
  kernel.spawn("fault", 1, faulting());
  kernel.runUntilIdle();
  expect(mm.mmapLock.isHeld).toBe(false);
  return doneAt > givenBackAt;
}

describe("a fault while somebody changes another mapping", () => {
  const fresh: readonly Access[] = [];
  it.each([
    ["6.1", fresh, "r", true],
    ["6.1", ["w"], "w", true],
    // Until 6.9 the mapping's lock is not enough for reads either, however many there were.
    ["6.6", fresh, "r", true],
    ["6.6", ["r", "r"], "r", true],
    ["6.6", fresh, "w", true],
    ["6.6", ["w"], "r", false],
    ["6.6", ["r", "w"], "w", false],
    ["6.6", fresh, "wp", true],
    // Since 6.10 only the first page of its own needs more.
    ["6.12", fresh, "r", false],
    ["6.12", ["r", "r"], "r", false],
    ["6.12", fresh, "w", true],
    ["6.12", ["r"], "w", true],
    ["6.12", fresh, "wp", true],
    ["6.12", ["w"], "w", false],
    ["6.12", ["w"], "wp", false],
    ["6.15", fresh, "r", false],
    ["6.15", fresh, "w", true],
    ["7.3", fresh, "w", true],
    ["7.3", ["w"], "w", false],
  ] as const)("in %s, after %j in its mapping, %s: waits %s", (version, before, fault, expected) => {
    expect(waits(version, before, fault)).toBe(expected);
  });
});

describe("the first page of its own of a mapping", () => {
  it("takes mmap_lock for a moment where it is free, beside the mapping's lock; the next one does not", () => {
    const machine = boot(IPI_POLICY, { kernel: "6.12" });
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    kernel.run(mmap(spaces, mm, START, START + 16 * PAGE_SIZE), 0);
    const taken: string[] = [];
    const { mmapLock } = mm;
    const tryDownRead = mmapLock.tryDownRead.bind(mmapLock);
    mmapLock.tryDownRead = () => {
      taken.push(mm.vmaReaders.size > 0 ? "beside" : "alone");
      return tryDownRead();
    };
    for (const page of [0, 1, 2]) kernel.run(handlePteFault(spaces, mm, START + page * PAGE_SIZE, true), 0);
    expect(taken).toEqual(["beside"]);
    expect([mmapLock.readers, mm.vmaReaders.size]).toEqual([0, 0]);
  });
});
