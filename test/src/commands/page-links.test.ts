/** Links from reports into the page, and why a report has none. */
import { describe, expect, it } from "vitest";
import { CpusOfPoints, pageLinks } from "../../../src/commands/page-links.ts";
import type { Experiment } from "../../../src/experiments/base/experiment.ts";
import { findExperiment } from "../../../src/experiments/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import type { MachineSettings } from "../../../src/settings/machine-settings.ts";

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
