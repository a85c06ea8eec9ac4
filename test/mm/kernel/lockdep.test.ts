/** Locking is checked: guards of structures, and the order in which locks are taken (`CONFIG_PROVE_LOCKING`). */
import { describe, expect, it } from "vitest";
import { Deadlock, type KernelCode, PAUSE_TURN } from "../../../arch/index.ts";
import {
  FLUSH_POLICIES,
  type LockReport,
  Mutex,
  SpinLock as Spin,
  type SpinLock,
  vfree,
  vmalloc,
  vmMapRam,
  vmUnmapAliases,
  vmUnmapRam,
  wait,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";
import { randomStream } from "../../../src/machine/random.ts";
import { featuresFor } from "../flush/policy-features.ts";

function boot(cpus = 2): Kernel {
  return bootKernel({ cpus, memoryBytes: 2 ** 28, proveLocking: true, vmalloc: { lazyMaxPages: 64 } });
}

function reportsOf(kernel: Kernel): readonly LockReport[] {
  return kernel.mm.lockdep?.reports ?? [];
}

/** Takes the locks in this order, gives others their turn while it holds each, and gives all back. */
function* nesting(locks: readonly (SpinLock | Mutex)[]): KernelCode<void> {
  for (const lock of locks) {
    if (!lock.tryTake()) yield* lock.take();
    yield PAUSE_TURN;
  }
  for (const lock of [...locks].reverse()) lock.release();
}

/** Areas and blocks come and go; now and then everything is purged. */
function* mixture(kernel: Kernel, seed: number, operations: number): KernelCode<void> {
  const random = randomStream(seed, 0);
  const frames = kernel.allocFrames(4);
  for (let i = 0; i < operations; i++) {
    const address = yield* wait(vmalloc(kernel.vm, 4096 * random.between(1, 4)));
    const mapped = yield* wait(vmMapRam(kernel.vm, frames));
    yield* wait(vfree(kernel.vm, address));
    yield* wait(vmUnmapRam(kernel.vm, mapped, 4));
    if (random.between(0, 19) === 0) yield* vmUnmapAliases(kernel.vm);
    yield PAUSE_TURN;
  }
}

function runMixture(kernel: Kernel, operations = 100): void {
  const { loop } = kernel.machine;
  for (let cpu = 0; cpu < loop.cpus; cpu++) kernel.spawn(`mix/${cpu}`, cpu, mixture(kernel, 7 + cpu, operations));
  kernel.runUntilIdle();
}

describe("guards", () => {
  it("find nothing wrong with a kernel under load, whatever the flush policy", () => {
    for (const policy of FLUSH_POLICIES) {
      const kernel = bootKernel({
        cpus: 4,
        features: featuresFor(policy),
        memoryBytes: 2 ** 28,
        proveLocking: true,
        flushPolicy: policy,
        vmalloc: { lazyMaxPages: 64 },
      });
      runMixture(kernel);
      expect(reportsOf(kernel), policy.name).toEqual([]);
      expect(kernel.verify()).toEqual([]);
    }
  });

  it("name the structure and the lock when code forgets to take the lock", () => {
    const locks: readonly [structure: string, lockOf: (kernel: Kernel) => readonly (SpinLock | Mutex)[]][] = [
      ["free_vmap_area_root", ({ vm }) => [vm.freeTreeLock]],
      ["vn->busy", ({ vm }) => vm.nodes.map(({ busyLock }) => busyLock)],
      ["vn->lazy", ({ vm }) => vm.nodes.map(({ lazyLock }) => lazyLock)],
      ["vn->pool", ({ vm }) => vm.nodes.map(({ poolLock }) => poolLock)],
      ["vbq->free", ({ vm }) => vm.blocks.queueLocks],
      ["__purge_vmap_area_lazy", ({ vm }) => [vm.purgeLock]],
    ];
    for (const [structure, lockOf] of locks) {
      const kernel = boot();
      // As if the calls of this lock were missing in the code.
      for (const lock of lockOf(kernel)) {
        Object.assign(lock, { tryTake: () => true, takeFree: () => true, release: () => undefined });
      }
      kernel.vfree(kernel.vmalloc(8192));
      kernel.vmUnmapRam(kernel.vmMapRam(kernel.allocFrames(4)), 4);
      kernel.vmUnmapAliases();
      kernel.vfree(kernel.vmalloc(8192));
      const found = reportsOf(kernel).map(({ fault, lock, other }) => [fault, lock, other]);
      expect(found).toEqual([["lock not held", lockOf(kernel)[0].name, structure]]);
      expect(kernel.log.lines.filter((line) => line.includes(structure))).toHaveLength(1);
    }
  });

  it("name a vmap block that is used without its lock", () => {
    const kernel = boot();
    const address = kernel.vmMapRam(kernel.allocFrames(4));
    for (const lock of kernel.vm.blocks.locks) {
      if (lock !== undefined) Object.assign(lock, { tryTake: () => true, release: () => undefined });
    }
    kernel.vmUnmapRam(address, 4);
    expect(reportsOf(kernel).map(({ lock, other }) => [lock, other])).toEqual([["vb->lock", "vb"]]);
  });

  it("do not take another thread's hold for one's own", () => {
    const kernel = boot();
    const { freeTreeLock } = kernel.vm;
    kernel.spawn("holder", 0, nesting([freeTreeLock, new Mutex("m", kernel.machine.loop, kernel.mm.costs.lock)]));
    kernel.spawn(
      "user",
      1,
      (function* (): KernelCode<void> {
        yield PAUSE_TURN;
        expect(freeTreeLock.isHeld).toBe(true);
        kernel.mm.lockdep?.assertHeld(freeTreeLock, "free_vmap_area_root");
      })(),
    );
    kernel.runUntilIdle();
    expect(reportsOf(kernel).filter(({ fault }) => fault === "lock not held")).toMatchObject([
      { lock: "free_vmap_area_lock", other: "free_vmap_area_root", thread: "user", cpu: 1 },
    ]);
  });

  it("say which structure is guarded by which lock", () => {
    const kernel = boot();
    const said = new Set(kernel.vm.lockGuards.map(({ structure, lock }) => `${structure}: ${lock.name}`));
    expect([...said]).toEqual([
      "free_vmap_area_root: free_vmap_area_lock",
      "vn->busy: vn->busy.lock",
      "vn->lazy: vn->lazy.lock",
      "vn->pool: vn->pool_lock",
    ]);
  });

  it("let those look who are outside the kernel's code", () => {
    const kernel = boot();
    kernel.vmalloc(8192);
    for (const node of kernel.vm.nodes) node.busy.__findVmapArea(0);
    expect(kernel.verify()).toEqual([]);
    expect(reportsOf(kernel)).toEqual([]);
  });

  it("cost no emulated time, and are absent unless asked for", () => {
    const [checked, plain] = [true, false].map((proveLocking) => {
      const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28, proveLocking, vmalloc: { lazyMaxPages: 64 } });
      runMixture(kernel);
      return kernel;
    });
    expect(checked.machine.loop.clockCycles).toEqual(plain.machine.loop.clockCycles);
    expect(plain.mm.lockdep).toBeNull();
    expect(plain.vm.lockGuards).toEqual([]);
  });
});

describe("the order of locks", () => {
  function locksOf(kernel: Kernel, ...names: string[]): SpinLock[] {
    return names.map((name) => new Spin(name, kernel.machine.loop, kernel.mm.costs.lock));
  }

  it("is reported when it was seen both ways, although nobody had to wait", () => {
    const kernel = boot();
    const [a, b] = locksOf(kernel, "a", "b");
    kernel.run(nesting([a, b]));
    expect(reportsOf(kernel)).toEqual([]);
    kernel.run(nesting([b, a]), 1);
    expect(reportsOf(kernel)).toMatchObject([
      { fault: "possible circular locking dependency detected", lock: "a", other: "b", cpu: 1 },
    ]);
    expect(kernel.log.lines).toEqual([
      "WARNING: possible circular locking dependency detected: sync on CPU 1 takes a while it holds b, but sync has taken b while it held a",
    ]);
  });

  it("is reported before the deadlock that it leads to", () => {
    const kernel = boot();
    const [a, b] = locksOf(kernel, "a", "b");
    kernel.spawn("first", 0, nesting([a, b]));
    kernel.spawn("second", 1, nesting([b, a]));
    expect(() => kernel.runUntilIdle()).toThrow(Deadlock);
    expect(reportsOf(kernel)).toMatchObject([{ fault: "possible circular locking dependency detected" }]);
    const [{ lock, other }] = reportsOf(kernel);
    expect([lock, other].sort()).toEqual(["a", "b"]);
  });

  it("is followed over several locks, and every lock on the way is named", () => {
    const kernel = boot();
    const [a, b, c] = locksOf(kernel, "a", "b", "c");
    kernel.run(nesting([a, b]));
    kernel.run(nesting([b, c]));
    kernel.run(nesting([c, a]));
    expect(reportsOf(kernel)).toHaveLength(1);
    expect(reportsOf(kernel)[0].text).toContain("has taken b while it held a, sync has taken c while it held b");
  });

  it("concerns classes: two locks of one name, one under the other, are a recursion", () => {
    const kernel = boot();
    const [a, other] = locksOf(kernel, "a", "a");
    kernel.run(nesting([a, other]));
    expect(reportsOf(kernel)).toMatchObject([{ fault: "possible recursive locking detected", lock: "a" }]);
  });

  it("is no longer checked after the first report, as in the kernel", () => {
    const kernel = boot();
    const [a, b, c] = locksOf(kernel, "a", "b", "c");
    kernel.run(nesting([a, b]));
    kernel.run(nesting([b, a]));
    kernel.run(nesting([b, c]));
    kernel.run(nesting([c, b]));
    expect(reportsOf(kernel)).toHaveLength(1);
    expect(kernel.mm.lockdep?.debugLocks).toBe(false);
  });

  it("has no mutex under a spinlock: who waits for it would sleep", () => {
    const kernel = boot();
    const [spin] = locksOf(kernel, "spin");
    kernel.run(nesting([spin, new Mutex("mutex", kernel.machine.loop, kernel.mm.costs.lock)]));
    expect(reportsOf(kernel)).toMatchObject([
      { fault: "sleeping function called from invalid context", lock: "mutex", other: "spin" },
    ]);
  });

  it("includes that a lock is given back by who took it", () => {
    const kernel = boot();
    const [a] = locksOf(kernel, "a");
    kernel.spawn(
      "owner",
      0,
      (function* (): KernelCode<void> {
        if (!a.tryTake()) yield* a.take();
        yield PAUSE_TURN;
      })(),
    );
    kernel.runUntilIdle();
    kernel.spawn(
      "other",
      1,
      (function* (): KernelCode<void> {
        yield PAUSE_TURN;
        a.release();
      })(),
    );
    kernel.runUntilIdle();
    expect(reportsOf(kernel)).toMatchObject([{ fault: "bad unlock balance detected", lock: "a", thread: "other" }]);
  });

  it("is that of the kernel's own code under load: the purge lock first, then a lock of what it purges", () => {
    const kernel = boot(4);
    runMixture(kernel);
    const order = kernel.mm.lockdep?.dependencies() ?? [];
    expect(order).toContainEqual(["vmap_purge_lock", "vb->lock"]);
    expect(order).toContainEqual(["vmap_purge_lock", "vn->lazy.lock"]);
    expect(order).toContainEqual(["vmap_purge_lock", "free_vmap_area_lock"]);
    expect(order.map(([held]) => held).filter((held) => held !== "vmap_purge_lock")).toEqual([]);
  });
});
