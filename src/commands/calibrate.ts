/** `mmulab calibrate`: a preset of the processor at hand, or of one whose curves were recorded. */
import type { Command } from "commander";
import { figuresOf, type Preset } from "../../arch/index.ts";
import { calibratedPreset } from "../calibration/calibrated-preset.ts";
import { type Calibration, calibrate } from "../calibration/calibration.ts";
import { collectCurves } from "../calibration/collect.ts";
import type { MeasuredCurves } from "../calibration/curves.ts";
import { compareCurves } from "../calibration/emulated-curves.ts";
import { describeCalibration, type Findings } from "../calibration/findings.ts";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { printJson, printReport } from "../command-line/standard-streams.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { checkOutputs } from "../files/output-target.ts";
import { readSmallText } from "../files/whole-file.ts";
import { ValueError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import { checkConditions, hostConditions, LoadWatch } from "../probe/conditions.ts";
import { reserveHostMemory } from "../probe/host-memory.ts";
import { HostTimer } from "../probe/host-timer.ts";
import { madeByElement } from "../provenance/made-by.ts";
import { figureCounts, figureSentence } from "../report/figures.ts";

interface CalibrateOptions {
  readonly output: string;
  readonly html?: string;
  readonly curves?: string;
  readonly saveCurves?: string;
  readonly ghz?: number;
  readonly seed: number;
  readonly quick?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Larger than any file of curves that the probe makes. */
const CURVES_BYTES_MAX = 2 ** 26;
const GHZ_MIN = 0.1;
const GHZ_MAX = 20;

const HELP = `
Loads that depend on each other visit 4 KiB pages at many distances, in WebAssembly, for about a minute. From where they become
slower follow the TLBs' entries, ways, sets and index hash; from sequences of visits within one set follows how they replace. No
compiler and no root is needed; a second CPU is. docs/calibrate.md says how it works and what it cannot see.

Exit code: 0 a preset was written; 2 it cannot measure here (too much else runs, too little memory, one CPU), or the curves show no
first-level TLB beyond doubt: then nothing is written.

Examples:
  $ mmulab calibrate --output mine.json --html mine.html
  $ mmulab calibrate --quick --save-curves curves.json
  $ mmulab calibrate --curves curves.json --output mine.json`;

/** Adds the command; `exit` takes its exit code. */
export function addCalibrateCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("calibrate")
    .description(
      "Measure the TLBs of the processor at hand and write a preset that other commands take (--preset FILE.json).",
    )
    .option("--output <file>", "the preset, JSON", "calibrated.json")
    .option("--html <file>", "write a page with the curves, measured beside emulated")
    .option(
      "--curves <file>",
      "infer from these curves, and measure nothing: JSON of --save-curves, or lines `stride S: pages:ns ...`",
    )
    .option("--save-curves <file>", "write what was measured, so that the inference can be repeated elsewhere")
    .option("--ghz <number>", "clock frequency, where it is known better (default: measured)", optionParser(parseGhz))
    .option("--seed <number>", "seed of the orders of visits", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option("--quick", "measure for some seconds only: fewer points, each repeated less")
    .option("--json", "print what was found as one JSON object")
    .option("--quiet", "print nothing but errors (and what --json asks for)")
    .addHelpText("after", HELP)
    .action(async (options: CalibrateOptions) => exit(await run(options, program.version() ?? "")));
}

async function run(options: CalibrateOptions, version: string): Promise<number> {
  const { curves: file, saveCurves, html, output, ghz, seed } = options;
  if (file !== undefined && saveCurves !== undefined) throw new UsageError("--save-curves: --curves measures nothing");
  if (file !== undefined && options.quick) throw new UsageError("--quick: --curves measures nothing");
  checkOutputs(
    [
      { what: "--output", file: output },
      { what: "--html", file: html },
      { what: "--save-curves", file: saveCurves },
    ],
    [{ what: "--curves", file }],
  );
  const { formatCurves, parseCurves } = await import("../calibration/curves.ts");
  const curves =
    file === undefined ? measure(options, version) : parseCurves(file, readSmallText(file, CURVES_BYTES_MAX));
  // What was measured is saved even where nothing can be made of it.
  if (saveCurves !== undefined) writeOutputFile(saveCurves, formatCurves(curves));
  const calibration = calibrate(curves, ghz);
  const preset = calibratedPreset(calibration, curves.origin);
  const findings = describeCalibration(calibration, curves);
  if (html !== undefined) {
    // Only those who want plots wait for the charting library.
    const { renderCalibration } = await import("../calibration/report-html.ts");
    const compared = compareCurves(curves.loads, preset, seed);
    const given = file === undefined ? "" : `, from ${file}`;
    const provenance = `mmulab ${version} calibrate, seed ${seed}${given}`;
    writeOutputFile(
      html,
      renderCalibration({ calibration, curves, compared, findings, preset, provenance, head: madeByElement() }),
    );
  }
  writeOutputFile(output, `${JSON.stringify(preset, null, 2)}\n`);
  if (options.json) printJson(resultOf(calibration, curves, findings, preset, version, seed));
  else if (!options.quiet) printReport(renderText(findings, preset, options));
  return EXIT_OK;
}

/** Measures this machine. @throws CalibrationError when it cannot be measured now */
function measure({ seed, quick, quiet }: CalibrateOptions, version: string): MeasuredCurves {
  checkConditions(hostConditions());
  const timer = new HostTimer(reserveHostMemory(), `mmulab ${version}`);
  const watch = new LoadWatch();
  let progress = startProgress(1, true);
  let steps = 0;
  const onProgress = (done: number, total: number, text: string) => {
    watch.check();
    if (total !== steps) {
      progress.clear();
      progress = startProgress(total, quiet === true);
      steps = total;
    }
    const left = done === 0 ? "" : `about ${Math.ceil((watch.elapsedNs / 1e9 / done) * (total - done))} s left, `;
    progress.update(done, `${left}${text}`);
  };
  try {
    return collectCurves(timer, { seed, isQuick: quick === true, onProgress });
  } finally {
    progress.clear();
  }
}

function renderText(
  { found, notMeasured }: Findings,
  preset: Preset,
  { output, html, saveCurves }: CalibrateOptions,
): string {
  const written = [output, html, saveCurves].filter((file) => file !== undefined);
  return [
    ...found,
    "",
    "Not measured:",
    ...notMeasured.map((sentence) => `- ${sentence}`),
    "",
    `Wrote ${written.join(", ")}. ${figureSentence(figureCounts(figuresOf(preset)))}.`,
    "",
  ].join("\n");
}

/** What `--json` prints. */
function resultOf(
  calibration: Calibration,
  curves: MeasuredCurves,
  findings: Findings,
  preset: Preset,
  version: string,
  seed: number,
): object {
  const { nearest, ...inferred } = calibration;
  const { loads: _, firstLevelSequences: __, secondLevelSequences: ___, ...measured } = curves;
  return { program: `mmulab ${version}`, seed, ...measured, ...inferred, nearest: nearest.name, ...findings, preset };
}

/** Reads a frequency in GHz. @throws ValueError for what is none */
function parseGhz(text: string): number {
  const ghz = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (ghz >= GHZ_MIN && ghz <= GHZ_MAX) return ghz;
  throw new ValueError("", text, `a number of GHz from ${GHZ_MIN} to ${GHZ_MAX}`);
}
