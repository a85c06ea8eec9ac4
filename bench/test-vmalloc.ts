/**
 * Wall time of test_vmalloc, 100,000 loops and default masks, beside the same tests in a real kernel: Linux 6.12 on one CPU under
 * full-system emulation (QEMU 7.2 TCG), and bare metal (Threadripper-class, LKML 2020). Microseconds a loop.
 *
 *     npm run bench:test-vmalloc -- [CPUS [RUNS]]
 *
 * Each run is a process of its own; the least of all runs counts. Where the host says (Linux), the time that the emulator's
 * thread had a core is shown as well: on a busy machine it is what wall time would be without the others, or nearly.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bootKernel } from "../src/kernel.ts";
import { renderTable } from "../src/report/tables.ts";
import { parseParameters } from "../src/workloads/parameters.ts";
import { runOnKernel } from "../src/workloads/run.ts";
import { testVmalloc } from "../src/workloads/test-vmalloc/index.ts";

/** A test with parameters, and what a real kernel needs: under emulation from .. to, and on bare metal. */
interface Measured {
  readonly test: string;
  readonly parameters: readonly string[];
  readonly emulated: readonly [number, number];
  readonly bareMetal?: number;
}

const ALL = ["run_test_mask=2047"];
const PCPU_OBJECTS = 35_000;
const TESTS: readonly Measured[] = [
  { test: "fix_size_alloc_test", parameters: ALL, emulated: [2.67, 2.67], bareMetal: 0.43 },
  { test: "full_fit_alloc_test", parameters: ALL, emulated: [3.6, 3.6], bareMetal: 0.57 },
  { test: "long_busy_list_alloc_test", parameters: ALL, emulated: [31, 31], bareMetal: 7.7 },
  { test: "random_size_alloc_test", parameters: ALL, emulated: [16, 23], bareMetal: 3.9 },
  { test: "fix_align_alloc_test", parameters: ALL, emulated: [8, 28], bareMetal: 1.4 },
  { test: "random_size_align_alloc_test", parameters: ALL, emulated: [13, 29] },
  { test: "pcpu_alloc_test", parameters: ALL, emulated: [370_000 / PCPU_OBJECTS, 700_000 / PCPU_OBJECTS] },
  { test: "kvfree_rcu_1_arg_vmalloc_test", parameters: ALL, emulated: [3.3, 3.3] },
  { test: "kvfree_rcu_2_arg_vmalloc_test", parameters: ALL, emulated: [3.3, 3.3] },
  { test: "vm_map_ram_test", parameters: ALL, emulated: [0.57, 0.57] },
  { test: "fix_size_alloc_test", parameters: ["run_test_mask=1", "nr_pages=16"], emulated: [6.2, 6.2] },
  { test: "vm_map_ram_test", parameters: ["run_test_mask=1024", "nr_pages=64"], emulated: [3, 3] },
  { test: "vm_map_ram_test", parameters: ["run_test_mask=1024", "nr_pages=80"], emulated: [3.6, 3.6] },
];

/** Microseconds a loop, by test: wall time, and time on a core. */
type Times = Record<string, { wallUsec: number; coreUsec: number }>;

function coreUsec(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1000;
  } catch {
    return Number.NaN;
  }
}

/** The name under which a run tells how long it took in all, as one loop. */
const IN_ALL = "in all";
/** The same for what it did before and after the tests: boot, rehearsal. */
const BESIDE = "beside the tests";

/** Runs the tests once in this process. */
function measure(cpus: number, parameters: readonly string[]): Times {
  const times: Times = {};
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
    parameters: parseParameters(testVmalloc.name, specs, ["test_loop_count=100000", ...parameters]),
    phases,
  });
  const all = { wallUsec: (performance.now() - begun.wall) * 1000, coreUsec: coreUsec() - begun.core };
  times[IN_ALL] = all;
  times[BESIDE] = { wallUsec: all.wallUsec - inTests.wallUsec, coreUsec: all.coreUsec - inTests.coreUsec };
  return times;
}

/** The least of `runs` processes. */
function least(cpus: number, parameters: readonly string[], runs: number): Times {
  const best: Times = {};
  for (let run = 0; run < runs; run++) {
    const script = fileURLToPath(import.meta.url);
    const child = spawnSync(process.execPath, [script, "--measure", String(cpus), ...parameters], { encoding: "utf8" });
    if (child.status !== 0) throw new Error(child.stderr);
    for (const [test, { wallUsec, coreUsec }] of Object.entries(JSON.parse(child.stdout) as Times)) {
      const known = best[test] ?? { wallUsec: Number.POSITIVE_INFINITY, coreUsec: Number.POSITIVE_INFINITY };
      best[test] = { wallUsec: Math.min(known.wallUsec, wallUsec), coreUsec: Math.min(known.coreUsec, coreUsec) };
    }
  }
  return best;
}

function main(cpus: number, runs: number): void {
  const results = new Map<string, Times>();
  const rows = TESTS.map(({ test, parameters, emulated, bareMetal }) => {
    const key = parameters.join(" ");
    const times = results.get(key) ?? least(cpus, parameters, runs);
    results.set(key, times);
    const { wallUsec, coreUsec } = times[test];
    const middle = (emulated[0] + emulated[1]) / 2;
    const ratios = [middle / wallUsec, middle / coreUsec];
    const [from, to] = emulated.map((usec) => usec.toFixed(usec < 1 ? 2 : 1));
    const name = parameters === ALL ? test : `${test} ${parameters[1]}`;
    const cells = [name, wallUsec.toFixed(2), coreUsec.toFixed(2), from === to ? from : `${from}-${to}`];
    return { cells: [...cells, ...ratios.map((ratio) => ratio.toFixed(1)), bareMetal?.toFixed(2) ?? ""], ratios };
  });
  process.stdout.write(
    renderTable(
      ["usec per loop", "wall", "on a core", "QEMU TCG", "faster: wall", "on a core", "bare metal"],
      rows.map((row) => row.cells),
    ),
  );
  const defaults = results.get(ALL.join(" ")) as Times;
  const ofDefaults = rows.filter((_, i) => TESTS[i].parameters === ALL);
  process.stdout.write(
    `geometric mean of the ${ofDefaults.length} tests of the default command: ${means(ofDefaults)}\n`,
  );
  process.stdout.write(`geometric mean of all ${rows.length} rows: ${means(rows)}\n`);
  const [all, beside] = [IN_ALL, BESIDE].map((name) => (defaults[name].wallUsec / 1e6).toFixed(2));
  process.stdout.write(
    `the default command: ${all} s in all, ${beside} s beside the tests; ${cpus} emulated CPUs, least of ${runs} runs\n`,
  );
}

/** Geometric means of how much faster the emulator is. */
function means(rows: readonly { readonly ratios: readonly number[] }[]): string {
  const [wall, core] = [0, 1].map((i) =>
    Math.exp(rows.reduce((sum, { ratios }) => sum + Math.log(ratios[i]), 0) / rows.length),
  );
  return `${wall.toFixed(2)} by wall time, ${core.toFixed(2)} by time on a core`;
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--measure") process.stdout.write(JSON.stringify(measure(Number(rest[0]), rest.slice(1))));
else main(Number(first ?? 1), Number(rest[0] ?? 3));
