/** The page without a finding of axe, and within its width: in both colour schemes, on a desktop and on a phone, each story's first step. */
import axe from "axe-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_FOCUS, OpenPage } from "../../bench/browser/open-page.ts";
import { formatLink } from "../../src/view/model/link.ts";
import { DEFAULT_SCENARIO, type Scenario } from "../../src/view/model/scenario.ts";
import { STORIES } from "../../src/view/model/stories/index.ts";

/** Places that together have all views with all that is in them: areas of all kinds, stale entries, flushes, many CPUs. */
const PLACES: readonly (readonly [Scenario, number])[] = [
  [{ ...DEFAULT_SCENARIO, settings: { "lazy-max": "64" } }, 300],
  [{ ...DEFAULT_SCENARIO, name: "ioremap_driver", cpus: 16 }, 100],
  ...STORIES.map(({ name }) => [{ kind: "story", name } as const, 1] as const),
];

let at: OpenPage;

beforeAll(async () => {
  at = await OpenPage.start();
  await at.openAt(DEFAULT_SCENARIO, 0);
  await at.page.evaluate(axe.source);
});

afterAll(() => at?.close());

/** Goes to a place without loading the page again. */
async function goTo(scenario: Scenario, position: number): Promise<void> {
  const link = formatLink({ scenario, position, focus: NO_FOCUS });
  await at.page.evaluate((hash) => {
    location.hash = hash;
  }, link);
  await at.page.waitForFunction(
    (name, step) =>
      document.querySelector("select")?.value === name &&
      document.querySelector("output")?.textContent?.replace(/ of.*|, the end/, "") === step,
    { timeout: 20_000 },
    `${scenario.kind} ${scenario.name}`,
    `step ${position}`,
  );
}

/** The rules of axe that colours have a part in; all others find the same in both colour schemes. */
const RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"];

/** @param rules those that are asked; absent: all */
function findings(rules?: readonly string[]): Promise<string[]> {
  return at.page.evaluate(async (asked) => {
    const { axe } = globalThis as unknown as {
      axe: { run(options: object): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run(asked === undefined ? {} : { runOnly: { type: "rule", values: asked } });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  }, rules);
}

describe("the page, in both colour schemes, on a desktop and on a phone", () => {
  it.each(PLACES.map(([scenario, position]) => [scenario.name, scenario, position] as const))(
    "has no finding of axe and fits its width: %s",
    async (_name, scenario, position) => {
      await goTo(scenario, position);
      for (const [width, height] of [
        [1280, 800],
        [390, 844],
      ] as const) {
        await at.page.setViewport({ width, height });
        for (const scheme of ["light", "dark"] as const) {
          await at.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
          const rules = scheme === "light" ? undefined : RULES_OF_COLOURS;
          expect(await findings(rules), `${scheme}, ${width} pixels wide`).toEqual([]);
        }
        const needed = await at.page.evaluate(() => document.documentElement.scrollWidth);
        expect(needed, `${width} pixels wide`).toBeLessThanOrEqual(width);
      }
      expect(at.complaints).toEqual([]);
    },
  );
});
