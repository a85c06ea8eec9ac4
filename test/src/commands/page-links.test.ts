/** Links from reports into the page, and why a report has none. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { CpusOfPoints, pageLinks } from "../../../src/commands/page-links.ts";
import type { Experiment } from "../../../src/experiments/base/experiment.ts";
import { findExperiment } from "../../../src/experiments/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { choiceOf } from "../../../src/settings/figure-choice.ts";
import { type MachineSettings, readSettings } from "../../../src/settings/machine-settings.ts";
import { parseLink } from "../../../src/view/model/link.ts";

/** Links of a run whose first point has booted a machine with so many CPUs, none for 0. */
function links(
  experiment: Experiment,
  given: Readonly<Record<string, string>> = {},
  cpus = 2,
  settings: MachineSettings = {},
) {
  const points = new CpusOfPoints();
  points.begins("0");
  if (cpus > 0) points.booted(bootKernel({ cpus, memoryBytes: 2 ** 28 }));
  return pageLinks(experiment, { preset: "skylake", seed: 1 }, given, settings, points);
}

describe("rows of an experiment's report", () => {
  const flushCost = findExperiment("flush-cost");

  it("link to their points in the page", () => {
    expect(links(flushCost).urlOf("0")).toMatch(/^http:\/\/127\.0\.0\.1:7437\/#/);
    expect(links(flushCost).urlOf("1")).toBeNull();
  });

  it("link to the machine that the report is of: its figures and its settings", () => {
    const set = ["costs.walk=30", "kernel.callCycles=7"];
    const settings = {
      ...readSettings({ policy: "deferred", isolated: "1-2", pti: "true" }),
      figures: choiceOf("zen4", presetByName("zen4"), set),
    };
    const points = new CpusOfPoints();
    points.begins("0");
    points.booted(bootKernel({ cpus: 3, memoryBytes: 2 ** 28 }));
    const url = pageLinks(flushCost, { preset: "zen4", set, seed: 1 }, {}, settings, points).urlOf("0") ?? "";
    expect(parseLink(new URL(url).hash)?.scenario).toMatchObject({
      preset: "zen4",
      set,
      settings: { policy: "deferred", isolated: "1,2", pti: "true" },
    });
  });

  it("have no links for a preset in a file", () => {
    const settings = { figures: choiceOf("mine.json", presetByName("zen4"), []) };
    const { urlOf, whyNone } = links(flushCost, {}, 2, settings);
    expect(urlOf("0")).toBeNull();
    expect(whyNone).toContain("the preset is a file of one's own");
  });

  it.each([
    ["a policy of one's own", flushCost, { policies: "ipi,mine.ts" }, 2, "mine.ts is a policy of one's own"],
    ["machines without a kernel", findExperiment("tlb-curves"), {}, 0, "the machines here have none"],
    ["two runs that are compared", findExperiment("kernel-diff"), {}, 2, "each compares two runs"],
    ["an experiment of one's own", { ...flushCost, name: "mine" }, {}, 2, "a file of one's own"],
    ["more CPUs than the page shows", flushCost, {}, 65, "at most 64 CPUs"],
  ])("have no links for %s, and the report says so", (_what, experiment, given, cpus, reason) => {
    const { urlOf, whyNone } = links(experiment, given as Record<string, string>, cpus);
    expect(urlOf("0")).toBeNull();
    expect(whyNone).toContain(reason);
  });
});
