import { expect, it } from "vitest";
import { replayUntil } from "../../../src/recording/replay-until.ts";
import { fixture } from "../fixtures.ts";

it("a recording is replayed up to a number of calls, whose state is left", async () => {
  const { calls, recording, kernel } = await replayUntil(fixture("huge_smp2_s1"), 12);
  expect({ calls, recording }).toEqual({ calls: 12, recording: "huge_smp2_s1" });
  expect(kernel.verify()).toEqual([]);
});

it("a recording that is not there is refused by name", async () => {
  await expect(replayUntil("none", 1)).rejects.toThrow("none: no such file");
});
