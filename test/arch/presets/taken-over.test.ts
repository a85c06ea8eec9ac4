/** Figures that a part takes over from another say so. */
import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS } from "../../../arch/index.ts";
import { assumed, cycles, measured, takenOver } from "../../../arch/presets/figure.ts";
import { allFiguresOf } from "../../../arch/presets/named-figures.ts";

/** Parts that figures are taken over from: the presets', and two that have none. */
const PARTS = [...PRESETS.map(({ name }) => name), "Cascade Lake", "Broadwell"].map(wordless);

/** A part's name as presets and sources both have it: `sapphirerapids` of `Sapphire Rapids` and of `sapphire-rapids`. */
function wordless(name: string): string {
  return name.toLowerCase().replaceAll(/[ -]/g, "");
}

describe("a figure that is taken over", () => {
  it.each([
    [measured("Hansen 2017"), "as Skylake: Hansen 2017"],
    [assumed("as with a flush, hot"), "as Skylake: as with a flush, hot"],
    [assumed("like PML4Es"), "as Skylake: like PML4Es"],
    [assumed("as Zen 2: remembered"), "as Zen 2: remembered"],
  ])("is assumed and names the part that it was first known of: %j", (origin, source) => {
    expect(takenOver(cycles(7, origin), "Skylake")).toMatchObject({ value: 7, basis: "assumed", source });
  });

  // `takenOver` keeps such a source: what else begins so would never name its part.
  it.each(PRESETS)("names a part where its source begins with `as` and a capital: $name", (preset) => {
    const sources = allFiguresOf(preset).flatMap(({ source }) => (/^as [A-Z]/.test(source) ? [source] : []));
    const partless = sources.filter((source) => !PARTS.some((part) => wordless(source).startsWith(`as${part}`)));
    expect(partless).toEqual([]);
  });

  it("is not said to be as another figure of the part that has another value", () => {
    for (const preset of PRESETS) {
      const figures = new Map(figuresOf(preset).map((figure) => [figure.name, figure]));
      const noFlush = figures.get("costs.movCr3NoFlush");
      if (noFlush === undefined || noFlush.value === figures.get("costs.movCr3")?.value) continue;
      expect(noFlush.source, preset.name).toMatch(/^as Skylake/);
    }
  });
});
