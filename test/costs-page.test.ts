/** `docs/costs.md` has every primitive cost as it is, with how it is known, and `docs/cost-sources.md` from where. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hardwareTable, hypervisorTable, kernelTable, sourcesTable } from "./costs-page.ts";
import { ROOT } from "./source-files.ts";

const page = readFileSync(join(ROOT, "docs/costs.md"), "utf8");

describe("docs/costs.md", () => {
  it("has what kernel code costs", () => {
    expect(page).toContain(kernelTable());
  });

  it("has what the code of a guest's hypervisor costs", () => {
    expect(page).toContain(hypervisorTable());
  });

  it("has what the hardware of each preset costs", () => {
    expect(page).toContain(hardwareTable());
  });
});

describe("docs/cost-sources.md", () => {
  it("has the source of each of them", () => {
    expect(readFileSync(join(ROOT, "docs/cost-sources.md"), "utf8")).toContain(sourcesTable());
  });
});
