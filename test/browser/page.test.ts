/** The page in a real browser: what it shows is what the model says, by mouse and by keys, without a finding of axe. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import axe from "axe-core";
import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatLinearAddress16, presetByName } from "../../arch/index.ts";
import { NO_FOCUS, OpenPage, WEB } from "../../bench/browser/open-page.ts";
import { openPoint } from "../../src/view/model/experiment-point.ts";
import { parseLink } from "../../src/view/model/link.ts";
import { openFile } from "../../src/view/model/open-file.ts";
import { type Picture, pictureOf } from "../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO, type Scenario, SOURCE_NAME } from "../../src/view/model/scenario.ts";
import { Session } from "../../src/view/model/session.ts";
import { STORIES } from "../../src/view/model/stories/index.ts";
import { ROOT } from "../source-files.ts";

let at: OpenPage;
let page: Page;

beforeAll(async () => {
  at = await OpenPage.start({ preset: Buffer.from(JSON.stringify({ ...presetByName("zen4"), name: "mine" })) });
  page = at.page;
});

afterAll(() => at?.close());

const openAt = (scenario: Scenario, position: number): Promise<void> => at.openAt(scenario, position);
const shows = (position: number): Promise<void> => at.shows(position);
const text = (selector: string): Promise<string> => at.text(selector);
const cells = (selector: string): Promise<string[]> => at.cells(selector);

/** The page's figures and lists are those of the model. */
async function expectPicture(picture: Picture): Promise<void> {
  const { space, walk, tlb, events, costs } = picture;
  expect(await at.rows("#areas", ".address")).toEqual(space.areas.map(({ start }) => formatLinearAddress16(start)));
  expect(await text("#space .figures")).toContain(`Linux ${picture.kernelVersion}; `);
  expect(await text("#space .figures")).toContain(`lazily freed: ${space.lazyPages.toLocaleString("en-US")} of`);
  expect(await cells("#tables tbody th")).toEqual([
    ...walk.levels.map(
      ({ name, index, cachedIn }) => `${name} [${index}]${cachedIn.length > 0 ? ` in ${cachedIn.join(", ")}` : ""}`,
    ),
    ...(walk.combined.length > 0 ? ["all levels"] : []),
  ]);
  expect(await cells("#tlbs figcaption")).toHaveLength(tlb.structures.length);
  const translations = tlb.structures.flatMap(({ slots }) => slots.filter(({ tableLevel }) => tableLevel === 0));
  expect(await at.rows("#tlbs", "tr")).toHaveLength(Math.min(100, translations.length));
  expect((await cells("#tlbs tbody .stale")).length).toBe(
    Math.min(100, translations.filter(({ stale }) => stale !== null).length),
  );
  const cycles = (parts: readonly number[]): string =>
    Math.round(parts.reduce((sum, part) => sum + part, 0)).toLocaleString("en-US");
  expect(await cells("#calls td:nth-child(3)")).toEqual(costs.calls.map(({ parts }) => cycles(parts)));
  expect(await cells("#flushes td:nth-child(5)")).toEqual(costs.flushes.map(({ parts }) => cycles(parts)));
  expect(await cells("#activities td:nth-child(2)")).toEqual(costs.activities.map(([, each]) => cycles([each])));
  expect(await at.rows("#time", "strong")).toEqual(
    events
      .slice(-120)
      .reverse()
      .map(({ name }) => name),
  );
}

async function axeFindings(): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  });
}

/** Some files of the page, and the scripts that they import at once. */
function loadedWith(names: readonly string[]): ReadonlySet<string> {
  const files = new Set(names);
  for (const file of files) {
    if (!file.endsWith(".js")) continue;
    const code = readFileSync(join(WEB, file), "utf8");
    for (const [, imported] of code.matchAll(/(?:from|import)"\.\/([^"]+)"/g)) files.add(imported);
  }
  return files;
}

function gzippedBytes(files: ReadonlySet<string>): number {
  return [...files].reduce((sum, name) => sum + gzipSync(readFileSync(join(WEB, name))).length, 0);
}

describe("the page", () => {
  it("is small: less than 400 kB gzipped, and names no other place", () => {
    // What both scripts import at once. The editor, what runs its code, files and experiments come later.
    const files = loadedWith(["index.html", "style.css", "main.js", "worker.js"]);
    expect([...files].filter((name) => !/^(?:index|style|main|worker|chunk-\w+)\.\w+$/.test(name))).toEqual([]);
    // Measured: 309 kB, most of which is the emulated machine and kernel.
    expect(gzippedBytes(files)).toBeLessThan(325_000);
    for (const name of ["index.html", "style.css"])
      expect(readFileSync(join(WEB, name), "utf8")).not.toMatch(/https?:/);
  });

  it("starts the worker before the machine is loaded: the page's own script has no part of it", () => {
    // Measured: 27 kB.
    expect(gzippedBytes(loadedWith(["main.js"]))).toBeLessThan(35_000);
  });

  it("tells every story to its end by the keyboard alone, and back, as the model has it", async () => {
    for (const { name } of STORIES) {
      const scenario: Scenario = { kind: "story", name };
      const session = new Session(scenario);
      await openAt(scenario, 0);
      while (!session.isOver) {
        session.forward("step");
        await page.keyboard.press("ArrowRight");
        await shows(session.position);
        expect(await text(".found"), name).toBe(session.told?.found);
      }
      await expectPicture(pictureOf(session, NO_FOCUS));
      session.back("step");
      await page.keyboard.press("ArrowLeft");
      await shows(session.position);
      await expectPicture(pictureOf(session, NO_FOCUS));
    }
  });

  it("shows a workload as the model has it, by events and calls, and a link restores it", async () => {
    const scenario: Scenario = { ...DEFAULT_SCENARIO, operations: 300, settings: { "lazy-max": "64" } };
    await openAt(scenario, 150);
    const session = new Session(scenario);
    session.goTo(150);
    await expectPicture(pictureOf(session, NO_FOCUS));
    await page.click('[aria-label="Next IPI"]');
    session.forward("ipi");
    await shows(session.position);
    await page.click('[aria-label="Back one event"]');
    session.back("event");
    await shows(session.position);
    await expectPicture(pictureOf(session, NO_FOCUS));
    await page.click("#tlbs fieldset button:nth-child(2)");
    await page.waitForSelector('#tlbs fieldset button:nth-child(2)[aria-pressed="true"]');
    const link = page.url();
    await page.goto("about:blank");
    await page.goto(link);
    await shows(session.position);
    await expectPicture(pictureOf(session, { cpu: 1, address: null }));
  });

  it("zooms the range from all of it to one page, by the keyboard, and says what is at an address and how it was searched", async () => {
    const scenario: Scenario = { ...DEFAULT_SCENARIO, operations: 300 };
    await openAt(scenario, 200);
    const session = new Session(scenario);
    session.goTo(200);
    const press = async (name: string): Promise<void> => {
      const buttons = await page.$$("#space fieldset button");
      for (const button of buttons) {
        if ((await button.evaluate((element) => element.textContent)) === name) {
          await button.focus();
          await page.keyboard.press("Enter");
        }
      }
    };
    await press("All");
    await page.waitForFunction(() => document.querySelector("#space fieldset small")?.textContent?.includes("32 TiB"));
    for (let i = 0; i < 17; i++) {
      await press("Closer");
      await page.waitForFunction(() => document.querySelector("output")?.textContent?.includes("…") === false);
    }
    expect(await text("#space fieldset small")).toMatch(/, 4 KiB$/);
    const { window } = parseLink(new URL(page.url()).hash)?.focus ?? {};
    const picture = pictureOf(session, { ...NO_FOCUS, window: window ?? null });
    expect(await at.rows("#areas", ".address")).toEqual(
      picture.space.areas.map(({ start }) => formatLinearAddress16(start)),
    );
    expect(picture.space.areas).toHaveLength(1);
    expect(await cells("#space .facts dd")).toEqual(picture.selection.facts.map(([, value]) => value));
    expect(await cells("#space .search .free-node .address")).toEqual(
      picture.lastSearch?.nodes.map(({ start }) => formatLinearAddress16(start)),
    );
    await press("In use");
    await page.waitForFunction(() => !location.hash.includes("bytes="));
    expect((await at.rows("#areas", ".address")).length).toBeGreaterThan(20);
  });

  it("follows the mouse over the map and the tracks, and the list follows the map", async () => {
    const scenario: Scenario = { ...DEFAULT_SCENARIO, operations: 300 };
    await openAt(scenario, 200);
    const session = new Session(scenario);
    session.goTo(200);
    const middleOf = async (selector: string): Promise<readonly [number, number]> =>
      page.$eval(selector, (element) => {
        element.scrollIntoView({ block: "center" });
        const { left, top, width, height } = element.getBoundingClientRect();
        return [left + width / 2, top + height / 2] as const;
      });
    const turn = async (deltaY: number): Promise<void> => {
      await page.keyboard.down("Control");
      await page.mouse.wheel({ deltaY });
      await page.keyboard.up("Control");
    };
    const [mapX, mapY] = await middleOf("#space .movable");
    await page.mouse.move(mapX, mapY);
    await turn(-500);
    await page.waitForFunction(() => location.hash.includes("bytes="));
    const bytesSeen = (): number => Number(new URLSearchParams(new URL(page.url()).hash.slice(1)).get("bytes"));
    const before = parseLink(new URL(page.url()).hash)?.focus.window ?? { start: 0, end: 0 };
    await page.mouse.down();
    await page.mouse.move(mapX - 100, mapY, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction((link) => location.href !== link, {}, page.url());
    const { window } = parseLink(new URL(page.url()).hash)?.focus ?? {};
    expect(window?.start).toBeGreaterThan(before.start);
    expect(bytesSeen()).toBe(before.end - before.start);
    const { space } = pictureOf(session, { ...NO_FOCUS, window: window ?? null });
    expect(await at.rows("#areas", ".address")).toEqual(space.areas.map(({ start }) => formatLinearAddress16(start)));
    const [timeX, timeY] = await middleOf("#time .scroll");
    await page.mouse.move(timeX, timeY);
    const told = (): Promise<string> => text("#time fieldset small");
    expect(await told()).toMatch(/^the last /);
    await turn(-500);
    await page.waitForFunction(() => / to /.test(document.querySelector("#time fieldset small")?.textContent ?? ""));
    const closer = await told();
    const [from, to] = closer.match(/[\d.]+/g)?.map(Number) ?? [];
    await page.mouse.down();
    await page.mouse.move(timeX + 60, timeY, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(
      (was) => document.querySelector("#time fieldset small")?.textContent !== was,
      {},
      closer,
    );
    const [earlier, until] = (await told()).match(/[\d.]+/g)?.map(Number) ?? [];
    expect(earlier).toBeLessThan(from);
    expect(until - earlier).toBeCloseTo(to - from, 1);
  });

  it("runs to a use of a stale entry, says who it was, and marks what the step changed", async () => {
    await openAt({ kind: "story", name: "stale-entry" }, 2);
    await page.select("header fieldset select", "stale use");
    await shows(4);
    expect(await text(".stopped")).toMatch(
      /^Stopped at CPU 0 loads from 0x[0-9a-f]+ through a stale entry of its L1 dTLB 4K/,
    );
    await page.keyboard.press("ArrowLeft");
    await shows(3);
    await page.keyboard.press("ArrowLeft");
    await shows(2);
    await page.keyboard.press("ArrowRight");
    await shows(3);
    expect(await text("#tables tr.new")).toContain("was 0x8000000000");
    expect(await text("#space .figures")).toContain("1 area has gone in this step");
  });

  it("opens a file that is chosen, and one that is dropped, and says what is wrong with another", async () => {
    const file = join(ROOT, "test/recordings/lazy_smp1_s1.jsonl.gz");
    await openAt({ kind: "story", name: "stale-entry" }, 0);
    const input = await page.$("input[type=file]");
    await input?.uploadFile(file);
    await shows(0);
    await page.waitForFunction(() => location.hash.startsWith("#file=lazy_smp1_s1"));
    const session = new Session({ kind: "file", name: "lazy" }, await openFile("lazy", readFileSync(file)));
    session.goTo(3);
    for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
    await shows(3);
    await expectPicture(pictureOf(session, NO_FOCUS));
    expect(await text(".story h2")).toBe(`3. ${session.told?.title}`);
    await at.drop("true.lackey", gunzipSync(readFileSync(join(ROOT, "test/traces/true.lackey.gz"))).toString());
    await page.waitForFunction(() => location.hash.startsWith("#file=true.lackey"));
    await page.keyboard.press("ArrowRight");
    await shows(1);
    expect(await text(".story h2")).toBe("1. fetch");
    await at.drop("letter.txt", "Dear Sir,\n");
    await page.waitForSelector('[role="alert"]');
    expect(await text('[role="alert"]')).toMatch(/^letter.txt: is none of these: a recording/);
  });

  it("runs code that is written in it, and marks the line of a mistake", async () => {
    const source = "export default function* (thread) {\n  yield* thread.vmalloc(8192);\n}\n";
    const { parameters: _, ...machine } = DEFAULT_SCENARIO;
    const scenario: Scenario = { ...machine, kind: "source", name: SOURCE_NAME, source, cpus: 2 };
    await openAt(scenario, 0);
    await page.waitForSelector(".cm-content");
    await page.keyboard.press("e");
    await page.waitForFunction(() => document.querySelectorAll("#time tbody strong").length > 0);
    expect(await at.rows("#time", "strong")).toContain("alloc");
    expect(await text(".cm-line:nth-child(2)")).toBe("  yield* thread.vmalloc(8192);");
    await page.focus(".cm-content");
    await page.keyboard.down("Control");
    await page.keyboard.press("End");
    await page.keyboard.up("Control");
    await page.keyboard.type("const a = nonsense;");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await page.waitForSelector('[role="alert"]');
    expect(await text('[role="alert"]')).toBe(
      "workload.ts: cannot be loaded: ReferenceError: nonsense is not defined (line 4)",
    );
    await page.waitForSelector(".cm-lintRange-error");
    expect(await axeFindings()).toEqual([]);
  });

  it("shows a machine with a preset of one's own and other figures, and keeps it for another workload", async () => {
    await openAt(
      { ...DEFAULT_SCENARIO, preset: "mine.json", set: ["tlbs.0.ways=4"], settings: { policy: "eager" } },
      20,
    );
    const machine = "mine from mine.json with tlbs.0.ways=4, policy eager; Linux 6.12; ";
    expect(await text("#space .figures")).toContain(machine);
    await page.select("header select", "workload user_processes");
    await shows(0);
    expect(await text("#space .figures")).toContain(machine);
    expect(parseLink(new URL(page.url()).hash)?.scenario).toMatchObject({
      name: "user_processes",
      set: ["tlbs.0.ways=4"],
    });
  });

  it("opens a point of an experiment by its link, at its begin, goes on and back", async () => {
    const scenario: Scenario = {
      kind: "experiment",
      name: "flush-cost",
      point: "1.1",
      seed: 1,
      preset: "skylake",
      parameters: ["cpus=1,4", "pages=1,33", "resident=8", "rounds=1"],
      settings: {},
    };
    await openAt(scenario, 0);
    const session = new Session(scenario, openPoint(scenario));
    expect(await text(".story h2")).toBe("0. flushes, ipi, 4 CPUs, 33 pages");
    await expectPicture(pictureOf(session, NO_FOCUS));
    for (let i = 0; i < 3; i++) await page.keyboard.press("i");
    for (let i = 0; i < 3; i++) session.forward("ipi");
    await shows(session.position);
    await expectPicture(pictureOf(session, NO_FOCUS));
    await page.keyboard.press("ArrowLeft");
    session.back("step");
    await shows(session.position);
    await expectPicture(pictureOf(session, NO_FOCUS));
    expect(await axeFindings()).toEqual([]);
  });

  it("says in one line what is wrong with a link", async () => {
    await page.goto("about:blank");
    await page.goto(`http://127.0.0.1:${at.serving.port}/#run=mixd`);
    await page.waitForSelector('[role="alert"]');
    expect(await text('[role="alert"]')).toMatch(/^unknown workload 'mixd'/);
  });

  it("has not complained", () => {
    expect(at.complaints).toEqual([]);
  });
});
