import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Kernel } from "../../../src/machine/kernel.ts";
import { readRecording } from "../../../src/recording/recording-reader.ts";
import { ReplayCalls } from "../../../src/recording/replay-calls.ts";
import { bootRecordedKernel } from "../../../src/recording/replay-kernel.ts";

const FOLDER = join(import.meta.dirname, "../../recordings");
/** Of every version of the kernel, but those in which CPUs ran at the same time. */
const RECORDINGS = ["", "linux-6.1", "linux-7.3"].flatMap((version) =>
  readdirSync(join(FOLDER, version))
    .filter((file) => file.endsWith(".jsonl.gz"))
    .map((file) => join(version, file)),
);
const CALLS_BETWEEN_CHECKS = 500;

describe("verify agrees with states of a real kernel", () => {
  it.each(RECORDINGS)("finds nothing wrong before, during and after %s", async (file) => {
    let replay: { kernel: Kernel; calls: ReplayCalls } | null = null;
    let made = 0;
    for await (const item of readRecording(join(FOLDER, file))) {
      if (item.kind === "start") {
        const kernel = bootRecordedKernel(item.header, item.state);
        replay = { kernel, calls: new ReplayCalls(kernel) };
        expect(kernel.verify()).toEqual([]);
        continue;
      }
      if (replay === null) throw new Error("a recording begins with its start");
      if (item.kind === "wait") replay.kernel.runUntilIdle();
      if (item.kind === "migrate") replay.kernel.currentCpu = item.cpu;
      if (item.kind !== "call") continue;
      replay.calls.make(item.call);
      if (++made % CALLS_BETWEEN_CHECKS === 0) expect(replay.kernel.verify()).toEqual([]);
    }
    expect(replay?.kernel.verify()).toEqual([]);
    expect(made).toBeGreaterThan(CALLS_BETWEEN_CHECKS);
  });
});
