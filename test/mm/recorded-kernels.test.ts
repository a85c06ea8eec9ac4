/**
 * All rooms of `mm` together: the emulated kernel answers as the real ones did that were recorded. Short recordings of each version;
 * `test/src/recording` replays all of them.
 */
import { describe, expect, it } from "vitest";
import { replayRecording } from "../../src/recording/replay.ts";
import { fixture } from "../src/fixtures.ts";

const RECORDINGS = [
  "lazy_smp1_s1",
  "frag_smp2_s1",
  "huge_smp2_s1",
  "mapram_smp1_s1",
  "linux-6.1/lazy_smp4_s1",
  "linux-7.3/vrealloc_smp1_s1",
];

describe("a recorded kernel", () => {
  it.each(RECORDINGS)("gave the addresses, the events and the state that the emulated one gives: %s", async (name) => {
    const { calls, addressMismatches, eventMismatches, finalStateMismatches } = await replayRecording(fixture(name));
    expect(calls).toBeGreaterThan(2000);
    expect({ addressMismatches, eventMismatches, finalStateMismatches }).toEqual({
      addressMismatches: 0,
      eventMismatches: 0,
      finalStateMismatches: 0,
    });
  });
});
