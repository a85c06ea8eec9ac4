/** Checks presets that people write as JSON: shape, and what the shape alone cannot say. */

import { z } from "zod";
import { MachineUsageError } from "../isa/errors.ts";
import { PHYSICAL_BITS_MAX, PHYSICAL_BITS_MIN } from "../isa/limits.ts";
import { isPowerOfTwo } from "../isa/power-of-two.ts";
import { VENDORS } from "../isa/vendor.ts";
import { INDEX_HASHES, type Preset, TLB_KINDS, TLB_PAGE_SIZES } from "./preset.ts";
import { REPLACEMENT_NAMES, replacementProblem } from "./replacement/index.ts";
import { SKYLAKE } from "./skylake.ts";

const source = z.string().min(1);
const text = z.string().min(1);

function figure(unit: string) {
  return z.strictObject({ value: z.number().nonnegative(), unit: z.literal(unit), source });
}

const cycles = figure("cycles");
const positiveInteger = z.number().int().positive();
const powerOfTwo = positiveInteger.refine(isPowerOfTwo, "a power of two");

const tlb = z.strictObject({
  name: text,
  level: z.union([z.literal(1), z.literal(2)]),
  kinds: z.array(z.enum(TLB_KINDS)).min(1),
  pageSizes: z.array(z.enum(TLB_PAGE_SIZES)).min(1),
  sets: powerOfTwo,
  ways: positiveInteger,
  indexHash: z.enum(INDEX_HASHES),
  replacement: z.enum(REPLACEMENT_NAMES),
  pcidCapacity: positiveInteger.optional(),
  source,
});

const structureCache = z.union([
  z.strictObject({ sets: powerOfTwo, ways: positiveInteger, replacement: z.enum(REPLACEMENT_NAMES), source }),
  z.strictObject({ sharedWith: text, source }),
]);

const STRUCTURES = ["pde", "pdpte", "pml4e", "pml5e"] as const;

/** One schema for each key of an object that already exists. */
function likeKeysOf<Key extends string, Schema extends z.ZodType>(keys: readonly Key[], schema: Schema) {
  return Object.fromEntries(keys.map((key) => [key, schema])) as Record<Key, Schema>;
}

const presetSchema = z.strictObject({
  name: text,
  description: z.string(),
  vendor: z.enum(VENDORS).default("intel"),
  maxPhyAddr: figure("bits").refine(
    ({ value }) => value >= PHYSICAL_BITS_MIN && value <= PHYSICAL_BITS_MAX,
    `${PHYSICAL_BITS_MIN} to ${PHYSICAL_BITS_MAX} bits`,
  ),
  frequencyGhz: figure("GHz"),
  features: z.strictObject({
    ...likeKeysOf(Object.keys(SKYLAKE.features) as (keyof Preset["features"])[], z.boolean()),
    tce: z.boolean().default(false),
  }),
  tlbs: z.array(tlb).min(1),
  pagingStructureCaches: z.strictObject({
    pde: structureCache.optional(),
    pdpte: structureCache.optional(),
    pml4e: structureCache.optional(),
    pml5e: structureCache.optional(),
  }),
  dataCaches: z.array(
    z.strictObject({ name: text, sizeBytes: figure("bytes"), ways: figure("ways"), hitCycles: cycles }),
  ),
  memory: cycles,
  costs: z.strictObject(likeKeysOf(Object.keys(SKYLAKE.costs) as (keyof Preset["costs"])[], cycles)),
});

/**
 * A preset from parsed JSON.
 * @throws MachineUsageError naming the first field that is wrong, its value and what was expected
 */
export function parsePreset(json: unknown): Preset {
  const result = presetSchema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    throw wrong(issue.path.join("."), valueAt(json, issue.path), issue.message);
  }
  // The schema leaves an absent optional field out or undefined; `Preset` wants it left out.
  const preset = JSON.parse(JSON.stringify(result.data)) as Preset;
  checkTlbs(preset);
  checkStructures(preset);
  checkDataCaches(preset);
  return preset;
}

function checkTlbs(preset: Preset): void {
  preset.tlbs.forEach((shape, index) => {
    const problem = replacementProblem(shape.replacement, shape.ways);
    if (problem !== null) throw wrong(`tlbs.${index}.ways`, shape.ways, `${problem} for ${shape.replacement}`);
    if (preset.tlbs.findIndex(({ name }) => name === shape.name) !== index) {
      throw wrong(`tlbs.${index}.name`, shape.name, "a name that no other TLB has");
    }
    if (shape.sets * shape.ways > 2 ** 20) throw wrong(`tlbs.${index}.sets`, shape.sets, "at most 2^20 entries in all");
  });
  for (const kind of TLB_KINDS) {
    const holds = preset.tlbs.filter(
      ({ level, kinds, pageSizes }) => level === 1 && kinds.includes(kind) && pageSizes.includes("4K"),
    );
    if (holds.length !== 1) throw wrong("tlbs", `${holds.length} of level 1 with 4K for ${kind}`, "exactly one");
  }
}

function checkStructures(preset: Preset): void {
  STRUCTURES.forEach((name, index) => {
    const shape = preset.pagingStructureCaches[name];
    if (shape === undefined) return;
    const path = `pagingStructureCaches.${name}`;
    if (!("sharedWith" in shape)) {
      const problem = replacementProblem(shape.replacement, shape.ways);
      if (problem !== null) throw wrong(`${path}.ways`, shape.ways, `${problem} for ${shape.replacement}`);
      return;
    }
    const own = STRUCTURES.slice(0, index).filter((other) => {
      const candidate = preset.pagingStructureCaches[other];
      return candidate !== undefined && !("sharedWith" in candidate);
    });
    const names = [...preset.tlbs.filter(({ level }) => level === 2).map((shape2) => shape2.name), ...own];
    if (!names.includes(shape.sharedWith)) {
      throw wrong(`${path}.sharedWith`, shape.sharedWith, `one of ${names.map((each) => `"${each}"`).join(", ")}`);
    }
  });
}

function checkDataCaches(preset: Preset): void {
  preset.dataCaches.forEach(({ sizeBytes, ways }, index) => {
    const sets = sizeBytes.value / 64 / ways.value;
    if (ways.value > 128 || !isPowerOfTwo(sets)) {
      throw wrong(
        `dataCaches.${index}.ways`,
        ways.value,
        "at most 128 ways, and a power of two of sets of 64-byte lines",
      );
    }
  });
}

function wrong(path: string, value: unknown, expected: string): MachineUsageError {
  const shown = typeof value === "object" && value !== null ? JSON.stringify(value).slice(0, 60) : value;
  return new MachineUsageError(`preset: ${path === "" ? "the whole" : path}`, shown, expected);
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  let value = json;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
