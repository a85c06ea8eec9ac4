/**
 * Measures the page in a headless Chromium: `npm run bench:page -- --help`. Of frames it counts the main thread's own processor time, which
 * the load of others does not lengthen; steps and the first picture are measured by the clock, as one waits for them.
 */
import { Command } from "commander";
import { table } from "table";
import { DEFAULT_SCENARIO } from "../../src/view/model/scenario.ts";
import { dragFrames, firstPictures, type Measured, runToEnd, steps, zoomFrames } from "./measures.ts";
import { OpenPage } from "./open-page.ts";
import { AREAS, CPUS, SCENE } from "./scene.ts";

const MAP = "#space .movable";
const TRACKS = "#time .scroll";
const STEPS = 20;

/** What was measured of a scene. */
interface SceneFigures {
  readonly times: readonly Measured[];
  /** Bytes of the browser before the scene was opened, and at its end. */
  readonly emptyBytes: number;
  readonly memoryBytes: number;
}

/** Frames and steps of 64 CPUs with 100,000 areas. @throws Error when the page shows another scene */
async function measureScene(): Promise<SceneFigures> {
  const at = await OpenPage.start();
  try {
    await at.page.setViewport({ width: 1280, height: 800 });
    const emptyBytes = at.memoryBytes();
    await runToEnd(at, SCENE);
    const figures = await at.text("#space .figures");
    const cpus = (await at.cells("#tlbs fieldset button")).length;
    if (!figures.includes(`; ${AREAS.toLocaleString("en-US")} areas`) || cpus !== CPUS) {
      throw new Error(`the scene has ${cpus} CPUs and ${figures}`);
    }
    const times = [
      await dragFrames(at, "a frame while the map is dragged", MAP),
      await zoomFrames(at, "a frame while the map is zoomed", MAP),
      await dragFrames(at, "a frame while the tracks are dragged", TRACKS),
      await zoomFrames(at, "a frame while the tracks are zoomed", TRACKS),
      ...(await steps(at, "a step back", "ArrowLeft", STEPS)),
      ...(await steps(at, "a step forward", "ArrowRight", STEPS)),
    ];
    if (at.complaints.length > 0) throw new Error(at.complaints.join("\n"));
    return { times, emptyBytes, memoryBytes: at.memoryBytes() };
  } finally {
    await at.close();
  }
}

function asTable(found: readonly Measured[]): string {
  const rows = found.map(({ name, count, leastMs, medianMs, p95Ms, mostMs, mainMs, workerMs }) => [
    name,
    count,
    leastMs.toFixed(1),
    medianMs.toFixed(1),
    p95Ms.toFixed(1),
    mostMs.toFixed(1),
    mainMs?.toFixed(1) ?? "",
    workerMs?.toFixed(1) ?? "",
  ]);
  return table([
    ["milliseconds of", "count", "least", "median", "95 %", "most", "main, each", "worker, each"],
    ...rows,
  ]);
}

async function main(): Promise<void> {
  const command = new Command("bench:page")
    .description(`Measures the page with ${CPUS} CPUs and ${AREAS} areas, and its first picture.`)
    .option("--json", "print the figures as JSON")
    .option("--browsers <number>", "browsers that the first picture is measured in", Number, 5)
    .parse();
  const { json, browsers } = command.opts<{ readonly json?: true; readonly browsers: number }>();
  const firstPicture = await firstPictures(DEFAULT_SCENARIO, browsers);
  const scene = await measureScene();
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
  const memory = `The browser took ${megabytes(scene.memoryBytes)} MB, of which ${megabytes(scene.emptyBytes)} MB before the scene was opened.\n`;
  process.stdout.write(
    json
      ? `${JSON.stringify({ firstPicture, ...scene }, null, 1)}\n`
      : asTable([firstPicture, ...scene.times]) + memory,
  );
}

await main();
