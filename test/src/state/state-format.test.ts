/** The format of saved states: what is in a file, and that a file with anything wrong in it is refused in one line. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AttributionState } from "../../../arch/tlb/attribution-state.ts";
import { KVM_POLICY } from "../../../mm/index.ts";
import { EXIT_USAGE, endingOf } from "../../../src/command-line/errors.ts";
import { HYPERVISOR_COSTS, withHypervisorCost } from "../../../src/guests/hypervisor-costs.ts";
import { InputFileError } from "../../../src/input/errors.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { replayUntil } from "../../../src/recording/replay-until.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { decodeData, encodeData } from "../../../src/state/container.ts";
import { isStateFile, loadKernel, saveKernel } from "../../../src/state/machine-state.ts";
import { kernelOfState, READABLE_VERSIONS, readStateHeader, STATE_VERSION } from "../../../src/state/state-kernel.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { moduleLoad } from "../../../src/workloads/module-load.ts";
import { userProcesses } from "../../../src/workloads/user-processes.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const CHECKSUM_BYTES = 32;

/** A kernel in which every part of the format has something to say. */
function busyKernel(): Kernel {
  const kernel = bootKernel({
    cpus: 2,
    pageTableIsolation: true,
    mitigations: "on",
    idleStates: "all",
    memcgLevels: 2,
    spinlocks: "test-and-set",
    vmalloc: { lazyMaxPages: 64 },
  });
  kernel.mm.flushing.keepAccounts({ perCpu: true });
  runOnKernel(kernel, mixed, { operations: 300, seed: 1 });
  runOnKernel(kernel, userProcesses, { operations: 60, seed: 1 });
  kernel.ioremap(0xd000_0000, 8192);
  for (const address of [kernel.vmalloc(2 ** 20), kernel.vmalloc(4096)]) kernel.vfree(address);
  return kernel;
}

/** What the states of some versions were saved of. */
const MADE_BY: Readonly<Record<number, string>> = {
  5: "a guest of 2 vCPUs on 1 CPU",
  7: "modules of Linux 7.3 on 2 CPUs",
};

const GUEST_COSTS = withHypervisorCost(HYPERVISOR_COSTS, "hypervisor.fault", 2500);

/** A guest in which every part of the format that is a guest's has something to say. */
function busyGuest(): Kernel {
  const kernel = bootKernel({
    cpus: 2,
    flushPolicy: KVM_POLICY,
    vmalloc: { lazyMaxPages: 64 },
    guest: { guestPages: "2M", physicalCpus: 1, numaBalancing: { pages: 8, periodUsec: 500 }, costs: GUEST_COSTS },
  });
  kernel.mm.flushing.keepAccounts({ perCpu: true });
  runOnKernel(kernel, mixed, { operations: 150, seed: 1 });
  runOnKernel(kernel, userProcesses, { operations: 60, seed: 1 });
  return kernel;
}

/** A kernel whose modules lie in a cache of executable memory. */
function kernelWithModules(): Kernel {
  const kernel = bootKernel({ cpus: 2, kernel: "7.3", memoryBytes: 2 ** 27 });
  runOnKernel(kernel, moduleLoad, { operations: 12, seed: 1, parameters: { live: 5 } });
  return kernel;
}

function headerOf(bytes: Buffer): Record<string, unknown> {
  return JSON.parse(bytes.subarray(0, bytes.indexOf("\n")).toString()) as Record<string, unknown>;
}

function stateOf(bytes: Buffer): Record<string, unknown> {
  return decodeData(gunzipSync(bytes.subarray(bytes.indexOf("\n") + 1, -CHECKSUM_BYTES))) as Record<string, unknown>;
}

/** Every name in a file with the kind of value that it has: `vmalloc.areas.busy.start: Float64Array`. */
function namesIn(value: unknown, path: string): string[] {
  if (ArrayBuffer.isView(value)) return [`${path}: ${value.constructor.name}`];
  if (Array.isArray(value)) return value.length === 0 ? [] : value.flatMap((item) => namesIn(item, `${path}[]`));
  if (typeof value !== "object" || value === null) return value === null ? [] : [`${path}: ${typeof value}`];
  return Object.entries(value).flatMap(([name, item]) => namesIn(item, path === "" ? name : `${path}.${name}`));
}

function allNames(file: string): string[] {
  const bytes = readFileSync(file);
  const header = headerOf(bytes);
  // Presets and features have a schema of their own.
  const config = { ...(header.config as object), preset: "a preset", features: "features" };
  return [...new Set([...namesIn({ ...header, config }, "header"), ...namesIn(stateOf(bytes), "")])].sort();
}

/** A state with an element more or fewer in each of its arrays in turn, and where that is. */
function* resized(value: unknown, path: string): Generator<readonly [where: string, changed: unknown]> {
  if (ArrayBuffer.isView(value)) {
    const kind = value.constructor as new (elements: Iterable<number | bigint>) => ArrayBufferView;
    const elements = [...(value as Uint8Array)];
    yield [`${path}, one more`, new kind([...elements, elements.at(-1) ?? (value instanceof BigUint64Array ? 0n : 0)])];
    if (elements.length > 0) yield [`${path}, one fewer`, new kind(elements.slice(0, -1))];
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const [name, item] of Object.entries(value).slice(0, Array.isArray(value) ? 1 : undefined)) {
    for (const [where, changed] of resized(item, `${path}.${name}`)) {
      yield [where, Array.isArray(value) ? value.with(Number(name), changed) : { ...value, [name]: changed }];
    }
  }
}

/** Takes out of a state what was said of pages' cache lines, differently before version 9. */
function withoutPageLines(state: Record<string, unknown>): void {
  const { frames } = state.mm as { frames: Record<string, unknown> };
  delete frames.lines;
  delete frames.coldOfCpuLists;
}

/** The times at which locks of plain code were held are not kept any more. */
function withoutLockTimes(state: Record<string, unknown>): void {
  const { zoneLocks, slabs } = state.mm as {
    zoneLocks?: Record<string, unknown>;
    slabs?: { caches: Record<string, unknown>[] };
  };
  for (const name of ["from", "until"]) delete zoneLocks?.[name];
  for (const cache of slabs?.caches ?? []) for (const name of ["lockFrom", "lockUntil"]) delete cache[name];
}

/** Takes out of a state what was said of pages that wait for the LRU lists, which were only counted before version 11. */
function withoutLru(state: Record<string, unknown>): void {
  const { frames } = state.mm as { frames: Record<string, unknown> };
  delete frames.onLru;
  const user = state.user as Record<string, unknown> | null;
  delete user?.lruBatched;
  delete user?.lruFrames;
}

/**
 * Has the notes of which flush removed what (`machine.attribution.removed`) name pages, in an order of their own, as files of versions before 15
 * do, and takes out those of pages that TLBs without flushes do not hold: nothing comes of them, and they are not kept any more.
 */
function withNotesOfPages(state: Record<string, unknown>): void {
  const { attribution } = state.machine as { attribution: AttributionState | null };
  if (attribution === null) return;
  const { structures, structure, slot, address, size, pcid } = attribution.unflushed;
  const structuresOfCpu = structures.length / attribution.unexplainedWalks.length;
  const held = Array.from(
    structure,
    (each, i) => `${Math.floor(each / structuresOfCpu)} ${address[i]} ${size[i]} ${pcid[i]}`,
  );
  const pages = new Map(Array.from(structure, (each, i) => [`${each} ${slot[i]}`, held[i]]));
  const { removed } = attribution;
  const notes = Array.from(removed.side, (side, i) => {
    const page =
      removed.cpu === undefined
        ? pages.get(`${removed.structure?.[i]} ${removed.slot?.[i]}`)
        : `${removed.cpu[i]} ${removed.address?.[i]} ${removed.size?.[i]} ${removed.pcid?.[i]}`;
    return { page, note: `${page} ${side} ${removed.flush[i]}` };
  });
  const kept = notes.filter(({ page }) => page !== undefined && held.includes(page));
  Object.assign(attribution, { removed: [...new Set(kept.map(({ note }) => note))].sort() });
}

/** The times at which lines moved are not kept any more. */
function withoutLineTimes(state: Record<string, unknown>): void {
  const { lines } = (state.machine as { loop: { lines: Record<string, unknown> } }).loop;
  for (const name of ["busyFrom", "busyUntil", "queuedLine", "queuedFrom", "queuedUntil"]) delete lines[name];
}

/** Takes out of a state which pages mappings map, which was not said before version 14. */
function withoutPageNumbers(state: Record<string, unknown>): void {
  const user = state.user as { readonly mms: readonly { readonly vmas?: { pgoff?: Float64Array } }[] } | null;
  for (const { vmas } of user?.mms ?? []) if (vmas !== undefined) delete vmas.pgoff;
}

/** Takes out of a state which mappings keep their pages' numbers, and what readers left of `mmap_lock`, which was not said before version 15. */
function withoutAnonVmas(state: Record<string, unknown>): void {
  const user = state.user as {
    readonly mms: readonly { readonly vmas?: { keepsPgoff?: Uint8Array } }[];
    readonly mmapLocks: { readFreeAtCycles?: Float64Array; flags?: Uint8Array };
  } | null;
  for (const { vmas } of user?.mms ?? []) delete vmas?.keepsPgoff;
  delete user?.mmapLocks.readFreeAtCycles;
  delete user?.mmapLocks.flags;
}

/** Takes out of a state which page each CPU zeroed last, which was not said before version 16. */
function withoutNextZeroed(state: Record<string, unknown>): void {
  const { frames } = state.mm as { frames: { lines?: { nextZeroed?: Float64Array } } };
  delete frames.lines?.nextZeroed;
}

describe(`version ${STATE_VERSION} of the format`, () => {
  it("has the names and types that it was published with; others need a new version", () => {
    const file = join(folder.path, "busy");
    saveKernel(busyKernel(), file, "a test");
    const names = allNames(file);
    saveKernel(busyGuest(), file, "a test");
    const ofGuests = allNames(file);
    saveKernel(kernelWithModules(), file, "a test");
    const ofModules = allNames(file);
    const all = [...new Set([...names, ...ofGuests, ...ofModules])].sort();
    const published = readFileSync(join(import.meta.dirname, `format-${STATE_VERSION}.txt`), "utf8");
    expect(all.join("\n")).toBe(published.trimEnd());
    expect(names.filter((name) => /guest|vpid|host/i.test(name))).toEqual([]);
    expect(ofModules.filter((name) => !names.includes(name)).join()).toMatch(/cpaLock.*execmem/);
    saveKernel(busyGuest(), file, "a test");
    expect(loadKernel(file).kernel.host?.costs).toEqual(GUEST_COSTS);
  });

  it.each(READABLE_VERSIONS)(
    "means what it meant when it was published: a state of version %i saved then is loaded, is sound and is the same when it is saved again",
    (version) => {
      const file = join(import.meta.dirname, `version-${version}.state`);
      const { kernel, madeBy } = loadKernel(file);
      expect(madeBy).toBe(MADE_BY[version] ?? "2 CPUs after mixed, 300 operations, seed 1");
      expect(kernel.host === null).toBe(version !== 5);
      expect(kernel.config.mitigations).toBe(
        [6, 8, 9, 10, 11, 12, 13, 14, 15, 16].includes(version) ? "on" : undefined,
      );
      expect(kernel.vm.execmem === null).toBe(version !== 7);
      expect(kernel.mm.slabs.vmapArea.slabs > 0).toBe(version >= 8);
      expect(kernel.verify()).toEqual([]);
      const again = join(folder.path, "again");
      saveKernel(kernel, again, madeBy);
      const [before, after] = [file, again].map((each) => stateOf(readFileSync(each)));
      if (version < 9) for (const state of [before, after]) withoutPageLines(state);
      if (version < 10) for (const state of [before, after]) withoutLockTimes(state);
      if (version < 11) for (const state of [before, after]) withoutLru(state);
      if (version < 12) for (const state of [before, after]) withoutLineTimes(state);
      if (version < 14) for (const state of [before, after]) withoutPageNumbers(state);
      if (version < 15) for (const state of [before, after]) withNotesOfPages(state);
      if (version < 15) for (const state of [before, after]) withoutAnonVmas(state);
      if (version < 16) for (const state of [before, after]) withoutNextZeroed(state);
      for (const name of Object.keys(before)) expect(isDeepStrictEqual(after[name], before[name]), name).toBe(true);
      expect(runOnKernel(kernel, mixed, { operations: 500, seed: 2 }).memory.wrongLoads).toBe(0);
      expect(kernel.verify()).toEqual([]);
    },
  );

  it.each([
    ["a kernel", busyKernel, /./],
    ["a guest", busyGuest, /guest|host|vpid/i],
    ["a kernel with modules", kernelWithModules, /execmem|lock/i],
  ])("has no array of %s that may be longer or shorter than it is", (_, make, names) => {
    const file = join(folder.path, "resized");
    saveKernel(make(), file, "a test");
    const bytes = readFileSync(file);
    const header = readStateHeader(file, bytes.subarray(0, bytes.indexOf("\n")).toString());
    const outcomes: string[] = [];
    let tried = 0;
    for (const [where, state] of resized(stateOf(bytes), "state")) {
      if (!names.test(where)) continue;
      tried++;
      try {
        kernelOfState(file, header, state);
        // A page less that was taken back from a guest is another state, and a sound one.
        if (where !== "state.host.hypervisor.freed, one fewer") outcomes.push(`${where}: taken`);
      } catch (error) {
        if (!(error instanceof InputFileError)) outcomes.push(`${where}: ${String(error)}`);
      }
    }
    expect(outcomes).toEqual([]);
    expect(tried).toBeGreaterThan(20);
  });

  it("brings plain data back as it was, with arrays of all kinds and lengths", () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.string(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (length, text, number) => {
          const elements = Array.from({ length }, (_, i) => i * 3);
          const data = {
            text,
            number: number + 0,
            list: [true, null, { text }, Uint8Array.from(elements)],
            arrays: {
              i8: Int8Array.from(elements),
              u8: Uint8Array.from(elements),
              i16: Int16Array.from(elements),
              u16: Uint16Array.from(elements),
              i32: Int32Array.from(elements).subarray(length >> 1),
              u32: Uint32Array.from(elements),
              f64: Float64Array.from(elements, (element) => number - element),
              u64: BigUint64Array.from(elements, BigInt),
            },
          };
          expect(decodeData(encodeData(data))).toStrictEqual(data);
        },
      ),
    );
    expect(() => encodeData({ at: Number.NaN })).toThrow("NaN has no form in JSON");
    expect(() => encodeData({ at: new Float32Array(1) })).toThrow("a Float32Array has no form in a saved state");
    expect(() => decodeData(new Uint8Array(16).fill(0xff))).toThrow(RangeError);
  });
});

describe("a file with something wrong in it is refused in one line", () => {
  const good = join(folder.path, "good");
  saveKernel(bootKernel({ cpus: 1 }), good, "a test");
  const bytes = readFileSync(good);
  const headerBytes = bytes.indexOf("\n") + 1;

  /** What the program says of a file, which must be one line with exit code 2. */
  const refusal = (content: Uint8Array): string => {
    const file = folder.write("changed", content);
    try {
      loadKernel(file);
    } catch (error) {
      const ending = endingOf(error);
      if (ending === null) throw error;
      expect(ending.exitCode).toBe(EXIT_USAGE);
      expect(ending.line).toMatch(/^[^\n]*changed: [^\n]+$/);
      return ending.line;
    }
    throw new Error("it was loaded");
  };

  it("wherever bytes are changed", () => {
    const places = fc.oneof(fc.nat(headerBytes + 20), fc.nat(bytes.length - 1));
    const changes = fc.array(fc.tuple(places, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(changes, (each) => {
        const changed = Buffer.from(bytes);
        for (const [at, bits] of each) changed[at] ^= bits;
        if (!changed.equals(bytes)) refusal(changed);
      }),
      { numRuns: 500 },
    );
  });

  it("wherever it is cut, and when something follows", () => {
    fc.assert(
      fc.property(fc.oneof(fc.nat(headerBytes + 20), fc.nat(bytes.length - 1)), (length) => {
        refusal(bytes.subarray(0, length));
      }),
      { numRuns: 200 },
    );
    expect(refusal(bytes.subarray(0, bytes.length - 100))).toMatch(/has \d+ bytes, not \d+: it was cut short$/);
    expect(refusal(Buffer.concat([bytes, Buffer.from("x")]))).toMatch(/is damaged: its checksum does not fit$/);
  });

  it("also by those who must first find out whether it is a state or a recording", async () => {
    for (let at = 0; at < 40; at++) {
      const changed = Buffer.from(bytes);
      changed[at] ^= 0x20;
      const file = folder.write("changed", changed);
      if (isStateFile(file)) refusal(changed);
      else await expect(replayUntil(file, 1)).rejects.toSatisfy((error) => endingOf(error)?.exitCode === EXIT_USAGE);
    }
  });

  it.each([
    ["empty", /: is empty$/, new Uint8Array(0)],
    ["text", /is not a state that mmulab saved$/, Buffer.from("hello\nworld")],
    ["json", /is not a state that mmulab saved$/, Buffer.from("{}\n")],
    ["of an older version", versionLine(1), edited(bytes, /"version":\d+/, '"version":1')],
    ["of a newer version", versionLine(31), edited(bytes, /"version":\d+/, '"version":31')],
    ["of another program", /is not a state that mmulab saved$/, edited(bytes, /mmulab state/, "mmulab stats")],
    ["with a flipped bit at its end", /is damaged: its checksum does not fit$/, edited(bytes, /.$/s, "\u0001")],
  ] as const)("%s", (_, message, content) => {
    expect(refusal(content)).toMatch(message);
  });

  it("none", () => {
    expect(() => loadKernel(join(folder.path, "none"))).toThrow(/none: no such file/);
  });
});

describe("a state with a right checksum that does not fit", () => {
  it("is refused with the name of what is wrong", () => {
    const kernel = bootKernel({ cpus: 1 });
    const vm = { config: { ...kernel.vm.config, zoneSizeBytes: 1.5 } };
    const file = join(folder.path, "unfitting");
    saveKernel(
      Object.assign(Object.create(kernel) as Kernel, { vm: Object.assign(Object.create(kernel.vm), vm) }),
      file,
      "",
    );
    const where = `version ${STATE_VERSION} of the format at config.vmalloc.zoneSizeBytes`;
    expect(() => loadKernel(file)).toThrow(`unfitting: does not fit ${where}: `);
  });
});

function versionLine(version: number): RegExp {
  return new RegExp(`is a state of version ${version}; this program reads versions ${READABLE_VERSIONS.join(", ")}$`);
}

function edited(bytes: Buffer, from: RegExp, to: string): Buffer {
  return Buffer.from(bytes.toString("latin1").replace(from, to), "latin1");
}
