/** A workload of one's own that gives a call what it cannot mean is told so, with the call and the argument. */
import { describe, expect, it } from "vitest";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../../src/runs/run.ts";
import { WorkloadThread } from "../../../../src/workloads/base/context.ts";
import { loadWorkloadFile } from "../../../../src/workloads/base/own-workload.ts";
import { temporaryFolder } from "../../fixtures.ts";
import { mmulab } from "../../run-cli.ts";

const folder = temporaryFolder();

const NUMBERS = [
  "-1",
  "0.5",
  "NaN",
  "Infinity",
  "-Infinity",
  "1e300",
  '"4096"',
  "null",
  "undefined",
  "{}",
  "[]",
  "4096n",
  "true",
];
const TIMES = ["-1", "NaN", "Infinity", "1e300", '"5"', "null", "undefined", "{}"];
const FRAMES = [
  "-3",
  "[-1]",
  "[0]",
  "[0.5]",
  "[NaN]",
  "[1e12]",
  "5",
  "null",
  "undefined",
  '"12"',
  "{}",
  "new Float64Array([1.5])",
];
const VALUES = ["0.5", "NaN", "Infinity", "2 ** 60", '"1"', "null", "undefined"];

/** Each method, and for each of its arguments what it must refuse; `_` marks the place. */
const CALLS: readonly (readonly [call: string, name: string, values: readonly string[]])[] = [
  ["yield* t.vmalloc(_)", "vmalloc", NUMBERS],
  ["yield* t.vzalloc(_)", "vzalloc", NUMBERS],
  ["yield* t.vmallocHuge(_)", "vmalloc_huge", NUMBERS],
  ["yield* t.vfree(_)", "vfree", NUMBERS],
  ["yield* t.vunmap(_)", "vunmap", NUMBERS],
  ["yield* t.iounmap(_)", "iounmap", NUMBERS],
  ["yield* t.vmap(_)", "vmap", FRAMES],
  ["yield* t.vmMapRam(_)", "vm_map_ram", FRAMES],
  ["yield* t.vmUnmapRam(_, 1)", "vm_unmap_ram", NUMBERS],
  ["yield* t.vmUnmapRam(0xc90000000000, _)", "vm_unmap_ram", NUMBERS],
  ["yield* t.ioremap(_, 4096)", "ioremap", NUMBERS],
  ["yield* t.ioremap(0xd0000000, _)", "ioremap", NUMBERS],
  ["yield* t.ioremap(0xd0000000, 4096, _)", "ioremap", ['"WB"', "1", "null", '"constructor"']],
  ["yield* t.sleep(_)", "sleep", TIMES],
  ["t.spend(_)", "spend", TIMES],
  ["t.allocFrames(_)", "allocFrames", NUMBERS],
  ["t.freeFrames(_)", "freeFrames", [...FRAMES, "[77777]"]],
  ["t.load(_)", "load", NUMBERS],
  ["t.load(0xc90000000000, _)", "load", ["0", "5", "1.5", "NaN", '"4"', "null"]],
  ["t.store(_, 1)", "store", NUMBERS],
  ["t.store(0xc90000000000, _)", "store", VALUES],
  ["t.store(0xc90000000000, 1, _)", "store", ["0", "5", "1.5", "NaN", '"4"', "null"]],
  ["t.expect(_, 1)", "expect", NUMBERS],
  ["t.expect(0xc90000000000, _)", "expect", VALUES],
  ["yield* t.allocate(_, 1, t.turn())", "allocate", ["1", '""', "null", "undefined"]],
  ['yield* t.allocate("x", _, t.turn())', "allocate", NUMBERS],
  ['yield* t.allocate("x", 1, _)', "allocate", ["1", "null", "undefined", "{}", "[]"]],
  ["yield* t.call(_, t.turn())", "call", ["1", '""', "null", "undefined"]],
  ['yield* t.call("x", _)', "call", ["1", "null", "undefined", "{}", "[]"]],
];

describe("a call of a workload of one's own", () => {
  it.each(CALLS)("%s refuses what it cannot mean", async (call, name, values) => {
    const attempts = values.map((value) => `() => function* () { ${call.replace("_", `(${value})`)}; }()`);
    const text = `export const messages = [];
      export default function* (t) {
        for (const attempt of [${attempts.join(", ")}]) {
          try { yield* attempt(); messages.push("it was accepted"); } catch (error) { messages.push(error.message); }
        }
      }`;
    const file = folder.write(`${name}-${call.replace(/\W/g, "")}.mjs`, text);
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
    runOnKernel(kernel, await loadWorkloadFile(file), { operations: 1, seed: 1 });
    const { messages } = (await import(file)) as { messages: string[] };
    expect(messages).toHaveLength(values.length);
    messages.forEach((message, i) => {
      expect(message, values[i]).toMatch(new RegExp(`^${name} of .*: expected `));
      expect(message).not.toContain("\n");
    });
    expect(kernel.verify()).toEqual([]);
    expect(kernel.log.warnings).toBe(0);
  });

  it("ends the run with one line, the call, the argument, the line and exit code 1", () => {
    const file = folder.write(
      "late.mjs",
      "export default function* (t) {\n  yield* t.sleep(1);\n  yield* t.vmMapRam(-3);\n}",
    );
    const result = mmulab("run", file, "--cpus", "1");
    expect(result).toMatchObject({ status: 1, stdout: "" });
    expect(result.stderr).toBe(
      `mmulab: ${file}: failed on CPU 0: vm_map_ram of -3: expected an array of frame numbers from allocFrames (line 3)\n`,
    );
    const fault = folder.write("fault.mjs", "export default function* (t) { t.store(0xc90000000000, 1); }");
    expect(mmulab("run", fault)).toMatchObject({ status: 1, stderr: expect.stringContaining("#PF(W)") });
  });

  it("that the kernel warns of is told with the warning's text, last, and exit code 1", () => {
    const file = folder.write("warned.mjs", "export default function* (t) { yield* t.vfree(0xc90000001000); }");
    const result = mmulab("run", file, "--cpus", "1");
    expect(result.status).toBe(1);
    expect(result.stdout).toMatch(
      /\n {2}WARNING: Trying to vfree\(\) nonexistent vm area \(.*\)\nthe kernel warned once\n$/,
    );
    expect(result.stderr).toMatch(/^mmulab: the kernel warned once, first: WARNING: Trying to vfree\(\) [^\n]*\n$/);
  });

  it("that unmaps a lock which it holds is told the lock's name", async () => {
    const init = WorkloadThread.prototype.spinLockInit.name;
    const text = `export default function* (t) {
      const address = yield* t.vmalloc(4096);
      const lock = t.${init}(address, "ring->lock");
      if (!lock.tryTake()) yield* lock.take();
      yield* t.vfree(address);
      lock.release();
    }`;
    const workload = await loadWorkloadFile(folder.write("lock.mjs", text));
    const kernel = bootKernel({ cpus: 1 });
    runOnKernel(kernel, workload, { operations: 1, seed: 1 });
    expect(kernel.log.lines).toEqual([expect.stringMatching(/held lock freed! .*: ring->lock at 0xffffc9[0-9a-f]+$/)]);
  });
});
