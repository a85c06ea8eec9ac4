import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_RESCHED } from "../../../arch/index.ts";
import { EAGER_POLICY, snapshotVmalloc, vmallocinfo } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { loadKernel, saveKernel } from "../../../src/state/machine-state.ts";
import { restoreGraph, saveGraph } from "../../../src/state/object-graph.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { testVmalloc } from "../../../src/workloads/test-vmalloc/index.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

function saveAndLoad(kernel: Kernel): Kernel {
  const file = join(folder.path, "state");
  saveKernel(kernel, file, "a test");
  const loaded = loadKernel(file);
  expect(loaded.madeBy).toBe("a test");
  return loaded.kernel;
}

describe("a saved machine", () => {
  it.each([
    ["4 CPUs after a mixed workload", { cpus: 4 }, mixed],
    ["1 CPU after test_vmalloc", { cpus: 1 }, testVmalloc],
    ["3 CPUs with eager flushes and 2 NUMA nodes", { cpus: 3, numaNodes: 2, flushPolicy: EAGER_POLICY }, mixed],
  ])("goes on after loading as if nothing had happened: %s", (_, config, workload) => {
    const kernel = bootKernel(config);
    const options = {
      operations: 3000,
      seed: 1,
      ...(workload === testVmalloc
        ? {
            parameters: {
              test_loop_count: 200,
              run_test_mask: 0x539,
              nr_pages: 3,
              test_repeat_count: 1,
              nr_threads: 1,
            },
          }
        : {}),
    };
    runOnKernel(kernel, workload, options);
    const loaded = saveAndLoad(kernel);
    expect(loaded.verify()).toEqual([]);
    expect(snapshotVmalloc(loaded.vm)).toEqual(snapshotVmalloc(kernel.vm));
    expect(vmallocinfo(loaded.vm)).toEqual(vmallocinfo(kernel.vm));
    const again = { ...options, seed: 2 };
    expect(runOnKernel(loaded, workload, again)).toEqual(runOnKernel(kernel, workload, again));
    expect(snapshotVmalloc(loaded.vm)).toEqual(snapshotVmalloc(kernel.vm));
    expect([...loaded.machine.loop.clockCycles]).toEqual([...kernel.machine.loop.clockCycles]);
    expect(loaded.verify()).toEqual([]);
  });

  it("keeps its memory, its TLBs and its counters, and shares nothing with the one that was saved", () => {
    const kernel = bootKernel({ cpus: 2 });
    const address = kernel.vmalloc(64 * 4096);
    const [cpu] = kernel.machine.cpus;
    for (let page = 0; page < 64; page++) cpu.store(address + page * 4096, 4, page * 3);
    const loaded = saveAndLoad(kernel);
    const [other] = loaded.machine.cpus;
    expect(other.counters()).toEqual(cpu.counters());
    for (let page = 0; page < 64; page++) expect(other.load(address + page * 4096, 4)).toBe(page * 3);
    expect(other.counters()["dTLB-load-misses"]).toBe(0);
    other.store(address, 4, 99);
    expect(cpu.load(address, 4)).toBe(0);
    loaded.vfree(address);
    expect(kernel.verify()).toEqual([]);
    expect(vmallocinfo(kernel.vm)).not.toEqual(vmallocinfo(loaded.vm));
  });

  it("can be one of 1 TiB, in a file of a few megabytes", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 40 });
    const address = kernel.vmallocHuge(2 ** 30);
    const loaded = saveAndLoad(kernel);
    expect(loaded.machine.memory.sizeBytes).toBe(2 ** 40);
    expect(readFileSync(join(folder.path, "state")).length).toBeLessThan(8 * 2 ** 20);
    loaded.vfree(address);
    expect(loaded.verify()).toEqual([]);
  });

  it("is refused while a thread is under way", () => {
    const kernel = bootKernel({ cpus: 1 });
    kernel.spawn(
      "busy",
      0,
      (function* (): KernelCode<void> {
        yield PAUSE_RESCHED;
      })(),
    );
    expect(() => saveKernel(kernel, join(folder.path, "busy"), "")).toThrow("not idle: busy would be lost");
    kernel.runUntilIdle();
    saveKernel(kernel, join(folder.path, "busy"), "");
  });
});

describe("a file that holds no state", () => {
  const file = join(folder.path, "good");
  const change = (name: string, edit: (bytes: Buffer) => Uint8Array): string => {
    saveKernel(bootKernel({ cpus: 1 }), file, "a test");
    return folder.write(name, edit(readFileSync(file)));
  };

  it.each([
    ["none", /none: no such file/, null],
    ["empty", /empty: is empty/, () => new Uint8Array(0)],
    ["text", /is not a state that mmulab saved/, () => Buffer.from("hello\nworld")],
    ["json", /is not a state that mmulab saved/, () => Buffer.from("{}\n")],
    ["cut", /it was cut short/, (bytes: Buffer) => bytes.subarray(0, bytes.length - 100)],
    ["flipped", /is damaged: its checksum does not fit/, (bytes: Buffer) => bytes.fill(0x55, bytes.length - 9)],
    [
      "newer",
      /version 2; this program reads version 1/,
      (bytes: Buffer) => edited(bytes, '"version":1', '"version":2'),
    ],
    ["other", /is not a state that mmulab saved/, (bytes: Buffer) => edited(bytes, "mmulab state", "mmulab stats")],
  ] as const)("is refused: %s", (name, message, edit) => {
    const path = edit === null ? join(folder.path, name) : change(name, edit);
    expect(() => loadKernel(path)).toThrow(message);
  });
});

function edited(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString("latin1").replace(from, to), "latin1");
}

describe("a graph of objects", () => {
  it("comes back with its sharing, its circles and its kinds", () => {
    const buffer = new ArrayBuffer(16);
    const make = () => {
      const shared = { n: 1 };
      const root: Record<string, unknown> = {
        shared,
        again: shared,
        words: new Int32Array(buffer.slice(0)),
        map: new Map<unknown, unknown>([[3, shared]]),
        set: new Set(["a"]),
        nothing: undefined,
        none: null,
        hole: Number.NaN,
        big: 5n,
        call: () => 7,
      };
      root.self = root;
      root.doubles = new Float64Array((root.words as Int32Array).buffer);
      return root;
    };
    const saved = make();
    (saved.shared as { n: number }).n = 42;
    (saved.words as Int32Array)[1] = 9;
    (saved.set as Set<string>).add("b");
    saved.more = [1, [2]];
    const target = make();
    const { call, words } = target;
    restoreGraph(target, structuredClone(saveGraph(saved)), []);
    expect(target).toEqual({ ...saved, self: target, call });
    expect(target.again).toBe(target.shared);
    expect(target.words).toBe(words);
    expect((target.doubles as Float64Array).buffer).toBe((words as Int32Array).buffer);
    expect((target.map as Map<number, unknown>).get(3)).toBe(target.shared);
  });
});
