/** Presets that people write are checked field by field, by `parsePreset` and by `new Machine` alike. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine, MachineUsageError, PRESETS, parsePreset, presetByName } from "../../../arch/index.ts";
import { BASE, Guest, thrown } from "../guest.ts";

type Path = readonly (string | number)[];

/** A copy to be changed. */
// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values of any type at any place
const copyOf = (name: string): any => JSON.parse(JSON.stringify(presetByName(name)));

/** Paths of all fields and elements, and whether each holds an object, an array, or something else. */
function pathsOf(value: unknown, path: Path = []): { path: Path; kind: string }[] {
  const kind = Array.isArray(value) ? "array" : typeof value;
  if (typeof value !== "object" || value === null) return [{ path, kind }];
  const inner = Object.entries(value).flatMap(([key, each]) =>
    pathsOf(each, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return [{ path, kind }, ...inner];
}

// biome-ignore lint/suspicious/noExplicitAny: as above
const at = (preset: any, path: Path): any => path.reduce((value, key) => value[key], preset);

/** The error that all entrances raise for a preset; they must agree. */
function refusal(preset: unknown): MachineUsageError {
  const error = thrown(MachineUsageError, () => new Machine({ preset: preset as never, memoryBytes: 2 ** 24 }));
  expect(thrown(MachineUsageError, () => parsePreset(preset)).message).toBe(error.message);
  return error;
}

const subjectOf = (path: Path): string => `preset: ${path.length === 0 ? "the whole" : path.join(".")}`;

describe.each(PRESETS.map(({ name }) => name))("every field of %s", (name) => {
  const fields = pathsOf(presetByName(name));

  test("removed: the machine names it", () => {
    for (const { path } of fields) {
      const last = path.at(-1);
      // Optional: what is absent is not cached, and a TLB without it is not limited.
      if (last === undefined || typeof last === "number" || last === "pcidCapacity") continue;
      if (path.length === 2 && path[0] === "pagingStructureCaches") continue;
      // Optional too: then nothing is known of them.
      if (path.length === 1 && (last === "mitigations" || last === "idleStates")) continue;
      if (last === "returnThunk") continue;
      const preset = copyOf(name);
      delete at(preset, path.slice(0, -1))[last];
      const error = thrown(MachineUsageError, () => new Machine({ preset }));
      // What has no `sharedWith` is a cache of its own, and lacks sets.
      const isShared = last === "sharedWith" && path.at(-2) !== "origins";
      const missing = isShared ? [...path.slice(0, -1), "sets"] : path;
      expect(error.subject).toBe(subjectOf(missing));
    }
  });

  test("of a wrong type, null, a number that is none, negative: it is named", () => {
    for (const { path, kind } of fields) {
      const wrong: unknown[] = [null, Symbol("x"), 1n, () => {}];
      wrong.push(...(kind === "string" ? [5, true, []] : ["x", [[]], Number.NaN, Number.POSITIVE_INFINITY, -1]));
      for (const value of wrong) {
        const preset = copyOf(name);
        if (path.length > 0) at(preset, path.slice(0, -1))[path.at(-1) as string] = value;
        const error = thrown(
          MachineUsageError,
          () => new Machine({ preset: (path.length > 0 ? preset : value) as never }),
        );
        // For an object or array of a wrong kind the message may name what it lacks.
        if (typeof value === "object" && value !== null) expect(`${error.subject}.`).toContain(path.join("."));
        else if (path.length > 0) expect(error.subject).toBe(subjectOf(path));
      }
    }
  });

  test("with a field added, also one that every object inherits: the field is named", () => {
    for (const { path, kind } of fields) {
      if (kind !== "object") continue;
      for (const key of ["colour", "constructor", "toString", "__proto__", ""]) {
        const preset = copyOf(name);
        Object.defineProperty(at(preset, path), key, { value: 1, enumerable: true });
        const error = refusal(preset);
        expect(error.subject).toBe(subjectOf([...path, key === "" ? '""' : key]));
        expect(error.expected).toMatch(/^no field of that name, only [a-z]/);
      }
    }
  });
});

test("any value at any place is right, or refused by a MachineUsageError", () => {
  const value = fc.oneof(fc.anything({ withNullPrototype: true, withBigInt: true }), fc.double(), fc.integer());
  const place = fc
    .constantFrom(...PRESETS)
    .chain(({ name }) =>
      fc.record({ name: fc.constant(name), path: fc.constantFrom(...pathsOf(presetByName(name)).slice(1)) }),
    );
  fc.assert(
    fc.property(place, value, ({ name, path: { path } }, wrong) => {
      const preset = copyOf(name);
      at(preset, path.slice(0, -1))[path.at(-1) as string] = wrong;
      try {
        new Machine({ preset, memoryBytes: 2 ** 24 });
      } catch (error) {
        expect(error).toBeInstanceOf(MachineUsageError);
      }
    }),
    { numRuns: 500 },
  );
});

describe("what no field says alone, and sizes", () => {
  test.each<[string, (preset: ReturnType<typeof copyOf>) => void, string]>([
    ["sets", (p) => Object.assign(p.tlbs[0], { sets: 3 }), "preset: tlbs.0.sets: 3: expected a power of two"],
    ["a kind twice", (p) => Object.assign(p.tlbs[0], { kinds: ["fetch", "fetch"] }), "preset: tlbs.0.kinds"],
    [
      "PCIDs",
      (p) => Object.assign(p.tlbs[5], { pcidCapacity: { ...p.tlbs[5].pcidCapacity, value: 4097 } }),
      "preset: tlbs.5.pcidCapacity.value: 4097",
    ],
    ["entries of a TLB", (p) => Object.assign(p.tlbs[5], { sets: 2 ** 20 }), "preset: tlbs.5.sets: 1048576"],
    [
      "entries together",
      (p) => Object.assign(p.pagingStructureCaches.pde, { sets: 2 ** 18 }),
      "preset: pagingStructureCaches.pde.sets: 262144: expected at most 1048576 entries in all",
    ],
    [
      "ways of a paging-structure cache",
      (p) => Object.assign(p.pagingStructureCaches.pde, { ways: 129 }),
      "preset: pagingStructureCaches.pde.ways: 129: expected 1 to 128 ways",
    ],
    [
      "lines that are no power of two of sets",
      (p) => Object.assign(p.dataCaches[0].sizeBytes, { value: 96 * 3 }),
      "preset: dataCaches.0.ways.value: 8",
    ],
    [
      "ways in part",
      (p) => Object.assign(p.dataCaches[0].ways, { value: 1.5 }),
      "preset: dataCaches.0.ways.value: 1.5",
    ],
    [
      "one data cache",
      (p) => Object.assign(p.dataCaches[2].sizeBytes, { value: 2 ** 31 }),
      "preset: dataCaches.2.sizeBytes.value: 2147483648",
    ],
    [
      "data caches together",
      (p) => Object.assign(p.dataCaches[2].sizeBytes, { value: 2 ** 30 }),
      "preset: dataCaches.2.sizeBytes.value: 1073741824: expected at most 1073741824 bytes in all",
    ],
    ["levels of data caches", (p) => p.dataCaches.push(...Array(6).fill(p.dataCaches[0])), "preset: dataCaches: "],
    ["a clock that stands", (p) => Object.assign(p.frequencyGhz, { value: 0 }), "preset: frequencyGhz.value: 0"],
    ["a cost without end", (p) => Object.assign(p.costs.walk, { value: 1e300 }), "preset: costs.walk.value: 1e+300"],
    ["a width in part", (p) => Object.assign(p.maxPhyAddr, { value: 46.5 }), "preset: maxPhyAddr.value: 46.5"],
  ])("%s", (_, change, expected) => {
    const preset = copyOf("skylake");
    change(preset);
    expect(refusal(preset).message).toContain(expected);
  });

  test("entries of all CPUs together are limited too", () => {
    const preset = copyOf("skylake");
    preset.tlbs[5].sets = 2 ** 16;
    const config = { preset, memoryBytes: 2 ** 24 };
    expect(new Machine({ ...config, cpus: 2 }).cpus).toHaveLength(2);
    const error = thrown(MachineUsageError, () => new Machine({ ...config, cpus: 64 }));
    expect(error.subject).toBe("preset: tlbs.5.sets");
  });

  test("a machine with as many entries as there can be works", () => {
    const preset = copyOf("skylake");
    Object.assign(preset.tlbs[5], { sets: 2 ** 17, ways: 4, replacement: "lru" });
    preset.pagingStructureCaches.pde.sets = 2 ** 16;
    const guest = new Guest({ preset });
    guest.map(BASE, 2 ** 30);
    for (let i = 0; i < 2; i++) guest.cpu.load(BASE, 4);
    expect(guest.cpu.counters()["dtlb_load_misses.walk_completed"]).toBe(1);
  });

  test.each(PRESETS)("$name is within the limits for as many CPUs as a machine can have", (preset) => {
    // A copy is checked; the preset itself is known.
    const copy = { ...preset };
    const error = thrown(MachineUsageError, () => new Machine({ preset: copy, cpus: 4096, maxPhyAddr: 53 }));
    expect(error.subject).toBe("maxPhyAddr");
  });
});

test("a preset that holds itself, or is inherited, is refused in one line", () => {
  const circular = copyOf("skylake");
  circular.memory = { ...circular.memory, value: circular };
  expect(refusal(circular).message).toBe("preset: memory.value: an object: expected a number from 0 to 2^32");
  expect(refusal(Object.create(presetByName("skylake"))).subject).toBe("preset: name");
});

test.each(["constructor", "__proto__", "toString", "hasOwnProperty"])("%s names no preset and no feature", (name) => {
  expect(thrown(MachineUsageError, () => new Machine({ preset: name })).subject).toBe("preset");
  const features = JSON.parse(`{"${name}": true}`);
  expect(thrown(MachineUsageError, () => new Machine({ features })).subject).toBe("features");
});
