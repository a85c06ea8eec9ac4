import { describe, expect, it } from "vitest";
import { EVENT_NAMES } from "../../../src/events/recorded-event.ts";
import { InputFileError } from "../../../src/input/errors.ts";
import { replayRecording } from "../../../src/recording/replay.ts";
import { temporaryFolder } from "../fixtures.ts";
import { type OwnRecordingConfig, recordOwnKernel } from "./own-recording.ts";

const folder = temporaryFolder();

function replay(lines: readonly string[]) {
  return replayRecording(folder.write("own.jsonl", `${lines.join("\n")}\n`), { differencesMax: 3 });
}

/** Seeds of this run: others each time, printed with every failure. */
const FIRST_SEED = Number(process.env.MMULAB_SEED ?? Date.now() % 2 ** 31);

// So much may be lazily freed that no purge needs helpers: their order is that of the caches, which recordings do not have.
const KINDS: Omit<OwnRecordingConfig, "seed">[] = [
  { cpus: 1, callsBefore: 0, calls: 600, migrates: false },
  { cpus: 1, callsBefore: 300, calls: 600, migrates: false, vmalloc: { lazyMaxPages: 500 } },
  { cpus: 2, callsBefore: 200, calls: 600, migrates: true, vmalloc: { lazyMaxPages: 6000 } },
  { cpus: 4, callsBefore: 200, calls: 800, migrates: true, vmalloc: { lazyMaxPages: 6000 } },
  { cpus: 4, callsBefore: 300, calls: 600, migrates: true },
  { cpus: 8, callsBefore: 100, calls: 800, migrates: true, vmalloc: { lazyMaxPages: 6000 } },
  {
    cpus: 3,
    callsBefore: 100,
    calls: 500,
    migrates: true,
    vmalloc: { nrCpus: 8192, possibleCpus: 6, lazyMaxPages: 6000 },
  },
  { cpus: 4, callsBefore: 100, calls: 500, migrates: true, flushCeilingPages: 7, vmalloc: { nrCpus: 64 } },
  { cpus: 2, callsBefore: 100, calls: 600, migrates: true, inWindow: true },
  { cpus: 2, callsBefore: 100, calls: 300, migrates: false, vmalloc: { allowHuge: false, ioremapMaxPageShift: 21 } },
];

describe("a recording of the emulated kernel, with random calls from a used state", () => {
  it.each(KINDS.map((kind, i) => ({ ...kind, seed: FIRST_SEED + i })))(
    "is replayed without a difference: %j",
    async (config) => {
      const lines = recordOwnKernel(config);
      const result = await replay(lines);
      expect(result, JSON.stringify(config)).toMatchObject({
        differences: [],
        addressMismatches: 0,
        eventMismatches: 0,
        finalStateMismatches: 0,
        calls: config.calls,
      });
      expect(result.events).toBeGreaterThan(config.calls);
    },
  );
});

describe("a replay checks", () => {
  const lines = recordOwnKernel({
    seed: 5,
    cpus: 4,
    callsBefore: 100,
    calls: 2500,
    migrates: true,
    vmalloc: { lazyMaxPages: 3000 },
  });
  const windowLines = recordOwnKernel({
    seed: 6,
    cpus: 2,
    callsBefore: 50,
    calls: 900,
    migrates: true,
    inWindow: true,
  });
  const lazyLines = recordOwnKernel({ seed: 8, cpus: 2, callsBefore: 50, calls: 300, migrates: true });
  /** `flush_all` comes from no call that recordings have. */
  const names = EVENT_NAMES.filter((name) => name !== "flush_all");

  it.each(names)("every field of the event %s", async (name) => {
    const source = [lines, windowLines].find((each) => each.some((line) => line.startsWith(`{"ev":"${name}"`)));
    if (source === undefined) throw new Error(`no ${name} was recorded`);
    const at = source.findLastIndex((line) => line.startsWith(`{"ev":"${name}"`));
    const event = JSON.parse(source[at]) as Record<string, string | number>;
    for (const [field, value] of Object.entries(event)) {
      if (field === "ev" || field === "pfn0" || field === "table" || field === "entry" || field === "ctx") continue;
      const other = typeof value === "number" ? value + 1 : `${value.slice(0, -1)}${value.endsWith("0") ? "8" : "0"}`;
      const replayed = replay(source.with(at, JSON.stringify({ ...event, [field]: other })));
      const result = await replayed.catch((error: unknown) => error);
      if (field === "on_cpu" && result instanceof InputFileError) {
        // Another CPU amid the events of one call: the recording is taken for a concurrent one and refused.
        expect(result.message).toMatch(/events of CPUs \d and \d alternate/);
        continue;
      }
      expect(result, field).toMatchObject({
        addressMismatches: 0,
        eventMismatches: 1,
        finalStateMismatches: 0,
        eventMismatchesByName: { [name]: 1 },
      });
    }
    const gone = await replay(source.toSpliced(at, 1));
    expect(gone.eventMismatches).toBeGreaterThan(0);
  });

  it.each(["free", "busy", "lazy", "pool", "vbfree", "vb", "meta"])("the final state's records of %s", async (part) => {
    const source = [lines, windowLines, lazyLines].find((each) =>
      each.some((line) => line.startsWith(`{"final":"${part}"`)),
    );
    if (source === undefined) throw new Error(`no final state has ${part}`);
    const at = source.findLastIndex((line) => line.startsWith(`{"final":"${part}"`));
    const record = JSON.parse(source[at]) as Record<string, string | number>;
    const field = part === "meta" ? "lazy_nr" : part === "vb" || part === "vbfree" ? "dirty" : "start";
    const value = record[field];
    const other =
      typeof value === "number" ? value + 1 : `${value.slice(0, -4)}${value.endsWith("8000") ? "9000" : "8000"}`;
    const result = await replay(source.with(at, JSON.stringify({ ...record, [field]: other })));
    expect(result.finalStateMismatches).toBeGreaterThan(0);
    expect(Object.keys(result.finalStateMismatchesByPart)).toEqual([part]);
  });
});
