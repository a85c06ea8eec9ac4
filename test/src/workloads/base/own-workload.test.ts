import { describe, expect, it } from "vitest";
import { isModuleFile } from "../../../../src/files/own-module.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../../src/runs/run.ts";
import { loadWorkloadFile } from "../../../../src/workloads/base/own-workload.ts";
import { temporaryFolder } from "../../fixtures.ts";

const folder = temporaryFolder();
const OPTIONS = { operations: 300, seed: 1 };

async function runFile(name: string, text: string) {
  const workload = await loadWorkloadFile(folder.write(name, text));
  const kernel = bootKernel({ cpus: 3 });
  return { kernel, report: runOnKernel(kernel, workload, OPTIONS) };
}

const TYPED = `
import type { WorkloadCode, WorkloadThread } from "mmulab";
import { PAGE_SIZE } from "mmulab/arch";

export default function* (thread: WorkloadThread): WorkloadCode {
  const frames = thread.allocFrames(4) as Uint32Array;
  for (let i = 0; i < thread.operations; i++) {
    const p: number = yield* thread.vmalloc(thread.random.between(1, 32) * PAGE_SIZE);
    thread.store(p, i);
    if (thread.load(p) !== i) throw new Error("lost");
    yield* thread.vfree(p);
    const q = yield* thread.vmMapRam(frames);
    yield* thread.vmUnmapRam(q, 4);
  }
  yield* thread.sleep(100);
  thread.freeFrames(frames);
}`;

describe("a workload of one's own", () => {
  it("may be TypeScript with imports of mmulab, and runs on every CPU", async () => {
    const { kernel, report } = await runFile("typed.ts", TYPED);
    expect(report.workload).toBe("typed");
    expect(report.operations.vmalloc).toMatchObject({ done: 300, failed: 0 });
    expect(report.operations.vm_map_ram).toMatchObject({ done: 300, failed: 0 });
    expect(report.memory).toEqual({ loads: 300, stores: 300, wrongLoads: 0 });
    for (const { total } of report.cycles) expect(total).toBeGreaterThan(100 * 2600);
    expect(kernel.verify()).toEqual([]);
  });

  it("gives the same report for the same seed", async () => {
    const [{ report: first }, { report: second }] = [await runFile("a.ts", TYPED), await runFile("a.ts", TYPED)];
    expect(first).toEqual(second);
  });

  it.each(["js", "mjs"])("may be JavaScript: .%s", async (ending) => {
    const text = "export default function* (t) { yield* t.vfree(yield* t.vzalloc(8192)); }";
    const { report } = await runFile(`plain.${ending}`, text);
    expect(report.operations.vzalloc.done).toBe(3);
  });

  it.each([
    ["none.js", "", /none\.js: is no workload: it exports nothing; expected export default function\*/],
    ["none.ts", "", /none\.ts: is no workload: it exports nothing/],
    ["named.ts", "export const x = 1;", /named\.ts: is no workload: it has no default export \(it exports x\)/],
    ["plain.ts", "export default function () {}", /its default export is an ordinary function, without the \*/],
    ["async.ts", "export default async function* () {}", /its default export is an async generator function/],
    ["number.js", "export default 7;", /its default export is of another kind \(Number\)/],
    ["syntax.ts", "export default function* () {\n let x: = 4; }", /syntax\.ts: cannot be loaded: .*\(line 2\)/],
    ["import.mjs", 'import "no-such-package";', /import\.mjs: cannot be loaded: .*no-such-package/],
  ])("is refused as %s when it is none", async (name, text, message) => {
    await expect(runFile(name, text)).rejects.toThrow(message);
  });

  it.each([
    ["fails.ts", "\n  nosuch();", /fails\.ts: failed on CPU 0: ReferenceError: nosuch is not defined \(line 2\)/],
    [
      "star.ts",
      "t.store(t.vmalloc(4096), 1);",
      /store of \[object Generator\]: expected an address, .*; calls .* with yield\*/,
    ],
    [
      "yield.ts",
      "yield t.vmalloc(4096);",
      /yielded \[object Generator\]; calls that may wait are made with yield\*, not/,
    ],
    ["fault.ts", "t.store(0xc90000000000, 1);", /fault\.ts: failed on CPU 0: #PF\(W\) at 0xffffc90000000000/],
    ["free.js", "yield* t.vfree(undefined);", /vfree of undefined: expected an address, a whole number/],
  ])("that goes wrong is named with the line: %s", async (name, body, message) => {
    await expect(runFile(name, `export default function* (t) { ${body} }`)).rejects.toThrow(message);
  });

  it("is told from a name by its ending or its path", async () => {
    for (const name of ["./x", "x.ts", "a/b.js", "x.mjs", "../mixed"]) expect(isModuleFile(name)).toBe(true);
    for (const name of ["mixed", "test_vmalloc", "x.txt"]) expect(isModuleFile(name)).toBe(false);
    await expect(loadWorkloadFile("./none.ts")).rejects.toThrow("./none.ts: no such file");
    await expect(loadWorkloadFile(folder.path)).rejects.toThrow("is not a file");
    await expect(loadWorkloadFile(folder.write("x.txt", ""))).rejects.toThrow(
      /a workload is a TypeScript or JavaScript/,
    );
  });
});
