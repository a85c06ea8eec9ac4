/** Figures that a part takes over from another say so. */
import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS } from "../../../arch/index.ts";
import { assumed, cycles, measured, takenOver } from "../../../arch/presets/figure.ts";

describe("a figure that is taken over", () => {
  it.each([
    [measured("Hansen 2017"), "as Skylake: Hansen 2017"],
    [assumed("as with a flush, hot"), "as Skylake: as with a flush, hot"],
    [assumed("as Zen 2: remembered"), "as Zen 2: remembered"],
  ])("is assumed and names the part that it was first known of: %j", (origin, source) => {
    expect(takenOver(cycles(7, origin), "Skylake")).toMatchObject({ value: 7, basis: "assumed", source });
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
