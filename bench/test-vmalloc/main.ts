/**
 * Wall time of test_vmalloc, 100,000 loops and default masks, beside the same tests in a real kernel. Microseconds a loop.
 *
 *     npm run bench:test-vmalloc -- [CPUS [RUNS]] [--real COMMAND]
 *
 * Each run is a process of its own; the least of all runs counts. Without `--real` the other side is what is known of a real
 * kernel under full-system emulation (`tests.ts`). With it, COMMAND is run in turn with the emulator, with the module's
 * parameters (`run_test_mask=1 nr_pages=16 ...`) as its arguments; it boots a real kernel with them and prints its log. On a
 * machine whose speed changes from minute to minute that is the comparison to trust.
 *
 * Where the host says (Linux), the time that the emulator's thread had a core is shown as well: on a busy machine it is what
 * wall time would be without the others, or nearly.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { renderTable } from "../../src/report/tables.ts";
import { BESIDE, IN_ALL, measure, measureHere, type Times } from "./emulator.ts";
import { timeRealKernel } from "./real-kernel.ts";
import { ALL_TESTS, TIMED_TESTS, type TimedTest } from "./tests.ts";

const LOOPS = "test_loop_count=100000";

/** All runs with one set of parameters, of both sides, in the order in which they were made. */
interface Runs {
  readonly ours: readonly Map<string, Times>[];
  readonly real: readonly Map<string, number>[];
}

function runInTurn(cpus: number, parameters: readonly string[], runs: number, command: string | undefined): Runs {
  const all = [LOOPS, ...parameters];
  const ours: Map<string, Times>[] = [];
  const real: Map<string, number>[] = [];
  for (let run = 0; run < runs; run++) {
    if (command !== undefined) real.push(timeRealKernel(command, all));
    ours.push(measure(fileURLToPath(import.meta.url), cpus, all));
  }
  return { ours, real };
}

/** One test's figures. */
interface Row {
  readonly cells: readonly string[];
  /** How much faster the emulator is: by wall time, by time on a core, and by wall time in each round. */
  readonly ratios: readonly number[];
  readonly rounds: readonly number[];
}

function rowOf(timed: TimedTest, { ours, real }: Runs): Row {
  const { test, parameters } = timed;
  const walls = ours.map((times) => timeOf(times, test).wallUsec);
  const wallUsec = Math.min(...walls);
  const coreUsec = Math.min(...ours.map((times) => timeOf(times, test).coreUsec));
  const name = parameters === ALL_TESTS ? test : `${test} ${parameters[1]}`;
  const cells = [name, wallUsec.toFixed(2), coreUsec.toFixed(2)];
  const bareMetal = timed.bareMetalUsec?.toFixed(2) ?? "";
  if (real.length === 0) {
    const [from, to] = timed.tcgUsec;
    const ratios = [wallUsec, coreUsec].map((usec) => (from + to) / 2 / usec);
    const range = from === to ? inShort(from) : `${inShort(from)}-${inShort(to)}`;
    return { cells: [...cells, range, ...ratios.map((ratio) => ratio.toFixed(1)), bareMetal], ratios, rounds: [] };
  }
  const reals = real.map((usec) => timeOf(usec, test));
  const least = Math.min(...reals);
  const ratios = [wallUsec, coreUsec].map((usec) => least / usec);
  const rounds = reals.map((usec, round) => usec / walls[round]);
  const range = `${inShort(Math.min(...rounds))}-${inShort(Math.max(...rounds))}`;
  return { cells: [...cells, least.toFixed(2), ...ratios.map((ratio) => ratio.toFixed(1)), range], ratios, rounds };
}

function timeOf<T>(times: Map<string, T>, test: string): T {
  const time = times.get(test);
  if (time === undefined)
    throw new Error(`${test} is not among the tests that were run: ${[...times.keys()].join(", ")}`);
  return time;
}

function inShort(value: number): string {
  return value.toFixed(value < 1 ? 2 : 1);
}

function main(cpus: number, runs: number, command: string | undefined): void {
  const bySet = new Map<string, Runs>();
  const rows = TIMED_TESTS.map((timed) => {
    const key = timed.parameters.join(" ");
    const found = bySet.get(key) ?? runInTurn(cpus, timed.parameters, runs, command);
    bySet.set(key, found);
    return { ...rowOf(timed, found), isDefault: timed.parameters === ALL_TESTS };
  });
  const beside =
    command === undefined
      ? ["QEMU TCG", "faster: wall", "on a core", "bare metal"]
      : ["real kernel", "faster: wall", "on a core", "single rounds"];
  const headings = ["usec per loop", "wall", "on a core", ...beside];
  process.stdout.write(
    renderTable(
      headings,
      rows.map((row) => row.cells),
    ),
  );
  const defaults = rows.filter((row) => row.isDefault);
  process.stdout.write(`geometric mean of the ${defaults.length} tests of the default command: ${means(defaults)}\n`);
  process.stdout.write(`geometric mean of all ${rows.length} rows: ${means(rows)}\n`);
  if (command !== undefined) process.stdout.write(`${roundsLine(defaults, runs)}\n`);
  const { ours } = bySet.get(ALL_TESTS.join(" ")) as Runs;
  const seconds = (name: string): string =>
    (Math.min(...ours.map((times) => timeOf(times, name).wallUsec)) / 1e6).toFixed(2);
  process.stdout.write(
    `the default command: ${seconds(IN_ALL)} s in all, ${seconds(BESIDE)} s beside the tests; ${cpus} emulated CPUs, least of ${runs} runs\n`,
  );
}

/** Geometric means of how much faster the emulator is. */
function means(rows: readonly Row[]): string {
  const [wall, core] = [0, 1].map((i) => geometricMean(rows.map(({ ratios }) => ratios[i])));
  return `${wall.toFixed(2)} by wall time, ${core.toFixed(2)} by time on a core`;
}

/** The geometric mean of each round by itself: both sides of a round ran within a minute. */
function roundsLine(rows: readonly Row[], runs: number): string {
  const of = Array.from({ length: runs }, (_, round) => geometricMean(rows.map(({ rounds }) => rounds[round])));
  return `the same in single rounds, by wall time: ${of.map((mean) => mean.toFixed(2)).join(" ")}`;
}

function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

const { values, positionals } = parseArgs({
  options: { real: { type: "string" }, measure: { type: "boolean" } },
  allowPositionals: true,
});
const [first, ...rest] = positionals;
if (values.measure) process.stdout.write(JSON.stringify(measureHere(Number(first), rest)));
else main(Number(first ?? 1), Number(rest[0] ?? 3), values.real);
