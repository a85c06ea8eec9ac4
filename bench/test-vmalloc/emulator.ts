/** test_vmalloc in the emulator: how long each test takes on this computer. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseParameters } from "../../src/input/parameters.ts";
import { bootKernel } from "../../src/machine/kernel.ts";
import { runOnKernel } from "../../src/runs/run.ts";
import { testVmalloc } from "../../src/workloads/test-vmalloc/index.ts";

/** Microseconds a loop: wall time, and time that the emulator's thread had a core (NaN where the host does not say). */
export interface Times {
  readonly wallUsec: number;
  readonly coreUsec: number;
}

/** The name under which a run tells how long it took in all, as one loop. */
export const IN_ALL = "in all";
/** The name under which it tells how long boot and rehearsal took, before and after the tests, as one loop. */
export const BESIDE = "beside the tests";

/** Runs the tests in a process of their own, `script` with `--measure`, which calls {@link measureHere}. */
export function measure(script: string, cpus: number, parameters: readonly string[]): Map<string, Times> {
  const child = spawnSync(process.execPath, [script, "--measure", String(cpus), ...parameters], { encoding: "utf8" });
  if (child.status !== 0) throw new Error(child.stderr);
  const times = Object.entries(
    JSON.parse(child.stdout) as Record<string, { wallUsec: number; coreUsec: number | null }>,
  );
  return new Map(times.map(([test, { wallUsec, coreUsec }]) => [test, { wallUsec, coreUsec: coreUsec ?? Number.NaN }]));
}

/** Runs the tests once in this process; the times by test. */
export function measureHere(cpus: number, parameters: readonly string[]): Record<string, Times> {
  const times: Record<string, Times> = {};
  const begun = { wall: performance.now(), core: coreUsec() };
  let inTests = { wallUsec: 0, coreUsec: 0 };
  let since = { wall: 0, core: 0 };
  const phases = {
    begin: () => {
      since = { wall: performance.now(), core: coreUsec() };
    },
    end: (name: string, loops: number) => {
      const [wall, core] = [(performance.now() - since.wall) * 1000, coreUsec() - since.core];
      times[name] = { wallUsec: wall / loops, coreUsec: core / loops };
      inTests = { wallUsec: inTests.wallUsec + wall, coreUsec: inTests.coreUsec + core };
    },
  };
  const specs = testVmalloc.parameters ?? [];
  runOnKernel(bootKernel({ cpus }), testVmalloc, {
    operations: 1,
    seed: 1,
    parameters: parseParameters(testVmalloc.name, specs, parameters),
    phases,
  });
  const all = { wallUsec: (performance.now() - begun.wall) * 1000, coreUsec: coreUsec() - begun.core };
  times[IN_ALL] = all;
  times[BESIDE] = { wallUsec: all.wallUsec - inTests.wallUsec, coreUsec: all.coreUsec - inTests.coreUsec };
  return times;
}

function coreUsec(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1000;
  } catch {
    return Number.NaN;
  }
}
