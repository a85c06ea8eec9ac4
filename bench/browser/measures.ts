/** What is measured of the page: frames, steps, jumps, the first picture. */
import type { Page } from "puppeteer-core";
import { formatLink } from "../../src/view/model/link.ts";
import type { Scenario } from "../../src/view/model/scenario.ts";
import { NO_FOCUS, OpenPage } from "./open-page.ts";
import { type Traced, traced } from "./traced.ts";

/** Moves of a gesture, and pixels of each. */
const MOVES = 60;
const PIXELS = 4;
const LONG_MS = 600_000;
/** Longer than a gesture takes to settle, with the answer that it then asks for. */
const REST_MS = 1500;
/** Between two steps, as between two keys: without a graphics card a browser is behind with drawing for about so long. */
const PAUSE_MS = 100;

/** Many times of one thing, in milliseconds. */
export interface Measured {
  readonly name: string;
  readonly count: number;
  readonly leastMs: number;
  readonly medianMs: number;
  /** What 95 of 100 are not above. */
  readonly p95Ms: number;
  readonly mostMs: number;
  /** Where the worker works as well: processor time of the main thread and of the worker for each. */
  readonly mainMs?: number;
  readonly workerMs?: number;
}

/** Times as least, median, 95th percentile and most. */
function measured(name: string, times: readonly number[], threads?: Omit<Traced, "frameMs">): Measured {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return {
    name,
    count: sorted.length,
    leastMs: at(0),
    medianMs: at(0.5),
    p95Ms: at(0.95),
    mostMs: at(1),
    ...(threads === undefined
      ? {}
      : { mainMs: threads.mainMs / sorted.length, workerMs: threads.workerMs / sorted.length }),
  };
}

/** Opens a scenario and runs it to its end. */
export async function runToEnd(at: OpenPage, scenario: Scenario): Promise<void> {
  const { page } = at;
  await at.openAt(scenario, 0);
  await page.evaluate(() => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true }));
  });
  await page.waitForFunction(() => document.querySelector("output")?.textContent?.endsWith(", the end"), {
    timeout: LONG_MS,
  });
  await rest(page);
}

/** The main thread's time a frame while something is dragged. */
export async function dragFrames(at: OpenPage, name: string, selector: string): Promise<Measured> {
  const { page } = at;
  const { x, y } = await placeOf(page, selector);
  const { frameMs } = await traced(at.browser, async () => {
    await page.mouse.move(x, y);
    await page.mouse.down();
    for (let i = 1; i <= MOVES; i++) await page.mouse.move(x - PIXELS * i, y);
    for (let i = MOVES; i >= 0; i--) await page.mouse.move(x - PIXELS * i, y);
    await page.mouse.up();
  });
  await rest(page);
  return measured(name, frameMs);
}

/** The main thread's time a frame while the wheel goes closer and back. */
export async function zoomFrames(at: OpenPage, name: string, selector: string): Promise<Measured> {
  const { page } = at;
  const { x, y } = await placeOf(page, selector);
  await page.mouse.move(x, y);
  const { frameMs } = await traced(at.browser, async () => {
    await page.keyboard.down("Control");
    for (let i = 0; i < MOVES; i++) await page.mouse.wheel({ deltaY: i < MOVES / 2 ? -20 : 20 });
    await page.keyboard.up("Control");
  });
  await rest(page);
  return measured(name, frameMs);
}

/** From a key to its step, each after a pause: until the page has it, and until the frame that shows it; by the clock, and each thread's part. */
export async function steps(at: OpenPage, name: string, key: string, count: number): Promise<Measured[]> {
  const times: StepTimes[] = [];
  const threads = await traced(at.browser, async () => {
    for (let i = 0; i < count; i++) {
      times.push(await timesOfKey(at.page, key));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  });
  return [
    measured(
      `${name}, in the page`,
      times.map(({ pageMs }) => pageMs),
      threads,
    ),
    measured(
      `${name}, in a frame`,
      times.map(({ frameMs }) => frameMs),
    ),
  ];
}

/** When a step is there, from its key on. */
interface StepTimes {
  /** The page's elements have it. */
  readonly pageMs: number;
  /** The frame that shows it has been drawn. */
  readonly frameMs: number;
}

function timesOfKey(page: Page, key: string): Promise<StepTimes> {
  return page.evaluate(
    (pressed) =>
      new Promise<StepTimes>((resolve) => {
        const output = document.querySelector("output");
        if (output === null) throw new Error("the page shows no step");
        const stepOf = (): string => output.textContent?.replace(/ of .*|, the end| …/, "") ?? "";
        const was = stepOf();
        const begun = performance.now();
        const changes = new MutationObserver(() => {
          if (stepOf() === was || output.textContent?.includes("…") === true) return;
          changes.disconnect();
          const pageMs = performance.now() - begun;
          requestAnimationFrame(() => setTimeout(() => resolve({ pageMs, frameMs: performance.now() - begun })));
        });
        changes.observe(output, { childList: true, characterData: true, subtree: true });
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: pressed, bubbles: true }));
      }),
    key,
  );
}

/** From the begin of the navigation to the first frame with a picture of the machine; each time in a browser of its own, whose caches are empty. */
export async function firstPictures(scenario: Scenario, count: number): Promise<Measured> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = await OpenPage.start();
    try {
      await at.page.evaluateOnNewDocument(noteFirstPicture);
      const link = formatLink({ scenario, position: 0, focus: NO_FOCUS });
      await at.page.goto(`http://127.0.0.1:${at.serving.port}/#${link}`);
      const found = await at.page.waitForFunction(
        () => (globalThis as unknown as { firstPicture?: number }).firstPicture,
      );
      times.push(Number(await found.jsonValue()));
    } finally {
      await at.close();
    }
  }
  return measured("first picture after navigation", times);
}

function noteFirstPicture(): void {
  const changes = new MutationObserver(() => {
    if (document.querySelector("#space canvas") === null) return;
    changes.disconnect();
    requestAnimationFrame(() => setTimeout(() => Object.assign(globalThis, { firstPicture: performance.now() })));
  });
  changes.observe(document, { childList: true, subtree: true });
}

/** The middle of what is to be seen of an element. */
async function placeOf(page: Page, selector: string): Promise<{ readonly x: number; readonly y: number }> {
  return page.$eval(selector, (element) => {
    element.scrollIntoView({ block: "center" });
    const { left, top, width, height } = element.getBoundingClientRect();
    return { x: left + width / 2, y: top + height / 2 };
  });
}

function rest(page: Page): Promise<unknown> {
  return page.evaluate((ms) => new Promise((resolve) => setTimeout(resolve, ms)), REST_MS);
}
