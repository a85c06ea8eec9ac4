/** What is said of a result's making where a command uses other values than the defaults of its options. */
import { expect, it } from "vitest";
import { madeBy, noteCommand, noteOptions } from "../../../src/provenance/made-by.ts";

it("names the values that were used in place of defaults", () => {
  noteCommand(["experiment", "page-tables", "--sensitivity"], { size: "64,1024", seed: 1 });
  noteOptions({ size: "1024" });
  expect(madeBy()?.options).toEqual({ size: "1024", seed: 1 });
});
