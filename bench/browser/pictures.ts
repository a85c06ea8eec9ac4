/**
 * Makes the pictures of `docs/` anew: `npm run pictures`. With `--all DIRECTORY` every view of a few scenes, in both colour schemes and
 * at both sizes, for somebody to look at.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { packageFile } from "../../src/files/program-files.ts";
import { DEFAULT_SCENARIO, type Scenario } from "../../src/view/model/scenario.ts";
import { STORIES } from "../../src/view/model/stories/index.ts";
import { OpenPage } from "./open-page.ts";
import { type Plot, plotPicture } from "./report-pictures.ts";

const DESKTOP = { width: 1280, height: 800 } as const;
const PHONE = { width: 390, height: 844 } as const;
type Size = typeof DESKTOP | typeof PHONE;
type Scheme = "dark" | "light";

/** A place in a run. */
interface Scene {
  readonly scenario: Scenario;
  readonly position: number;
}

/** A picture of `docs/`. */
interface Picture extends Scene {
  readonly name: string;
  readonly scheme: Scheme;
  readonly size: Size;
  /** Pixels of the page from its top; absent: what the screen holds. */
  readonly heightPixels?: number;
}

const MIXED: Scenario = { ...DEFAULT_SCENARIO, settings: { "lazy-max": "64" } };

const { parameters: _, ...OWN_MACHINE } = MIXED;

/** The program in the README that is put into a file of this name. @throws Error when there is none */
function readmeProgram(name: string): string {
  const readme = readFileSync(packageFile("README.md"), "utf8");
  const program = readme.split(`\`${name}\`:`)[1]?.split("```ts\n")[1]?.split("```")[0];
  if (program === undefined) throw new Error(`README.md has no program ${name}`);
  return program;
}

const PICTURES: readonly Picture[] = [
  { name: "view-dark", scenario: MIXED, position: 300, scheme: "dark", size: DESKTOP, heightPixels: 1480 },
  {
    name: "view-light",
    scenario: { kind: "story", name: "stale-entry" },
    position: 4,
    scheme: "light",
    size: DESKTOP,
    heightPixels: 1480,
  },
  {
    name: "view-phone",
    scenario: { kind: "story", name: "lazy-purge" },
    position: 4,
    scheme: "dark",
    size: PHONE,
    heightPixels: 1800,
  },
  {
    name: "view-own",
    scenario: { ...OWN_MACHINE, kind: "source", name: "my-workload", source: readmeProgram("my-workload.ts") },
    position: 260,
    scheme: "light",
    size: DESKTOP,
    heightPixels: 1480,
  },
];

/** Plots of `docs/`. */
const PLOTS: readonly (Plot & Pick<Picture, "name" | "scheme" | "size">)[] = [
  {
    name: "tlb-curves",
    experiment: ["tlb-curves", "--accesses", "load", "--preset", "sapphire-rapids"],
    figure: 0,
    scheme: "light",
    size: DESKTOP,
  },
  {
    name: "flush-cost",
    experiment: ["flush-cost", "--cpus", "1,16,128", "--pages", "1,33,34"],
    // Flushing per vunmap.
    figure: 6,
    scheme: "light",
    size: DESKTOP,
  },
];

/** Scenes to look at. */
const SCENES: readonly Scene[] = [
  ...PICTURES.filter(({ scenario }) => scenario.kind === "source"),
  { scenario: MIXED, position: 300 },
  { scenario: { ...DEFAULT_SCENARIO, name: "fs_buffer_cache", cpus: 16 }, position: 250 },
  ...STORIES.map(({ name }) => ({ scenario: { kind: "story" as const, name }, position: 3 })),
];

/** Sets the scheme and the size, for what is opened next. */
async function prepare(at: OpenPage, scheme: Scheme, size: Size): Promise<void> {
  await at.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await at.page.setViewport({ ...size, deviceScaleFactor: size === PHONE ? 2 : 1 });
}

/** The page from its top. @param heightPixels absent: all of it */
async function pictureOf(at: OpenPage, size: Size, heightPixels?: number): Promise<Uint8Array> {
  // Two frames: what is drawn on canvases is there.
  await at.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const whole = await at.page.evaluate(() => document.documentElement.scrollHeight);
  const height = Math.min(whole, heightPixels ?? whole);
  return at.page.screenshot({ clip: { x: 0, y: 0, width: size.width, height }, captureBeyondViewport: true });
}

async function writeAll(at: OpenPage, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const scheme of ["dark", "light"] as const) {
    for (const size of [DESKTOP, PHONE]) {
      await prepare(at, scheme, size);
      for (const { name, ...plot } of PLOTS) {
        writeFileSync(join(folder, `${name}-${scheme}-${size.width}.png`), await plotPicture(at, plot));
      }
      for (const { scenario, position } of SCENES) {
        await at.openAt(scenario, position);
        writeFileSync(join(folder, `${scenario.name}-${scheme}-${size.width}.png`), await pictureOf(at, size));
      }
    }
  }
}

function keep(file: URL, picture: Uint8Array): void {
  writeFileSync(file, picture);
  process.stdout.write(`${fileURLToPath(file)}\n`);
}

async function main(): Promise<void> {
  const command = new Command("pictures")
    .description("Makes the pictures of docs/ anew, or with --all many to look at.")
    .option("--all <directory>", "each scene in both schemes and at both sizes, into a directory; docs/ stays as it is")
    .parse();
  const { all } = command.opts<{ readonly all?: string }>();
  const at = await OpenPage.start();
  try {
    if (all !== undefined) await writeAll(at, all);
    else {
      for (const { name, scenario, position, scheme, size, heightPixels } of PICTURES) {
        await prepare(at, scheme, size);
        await at.openAt(scenario, position);
        keep(packageFile(`docs/${name}.png`), await pictureOf(at, size, heightPixels));
      }
      for (const { name, scheme, size, ...plot } of PLOTS) {
        await prepare(at, scheme, size);
        keep(packageFile(`docs/${name}.png`), await plotPicture(at, plot));
      }
    }
    if (at.complaints.length > 0) throw new Error(at.complaints.join("\n"));
  } finally {
    await at.close();
  }
}

await main();
