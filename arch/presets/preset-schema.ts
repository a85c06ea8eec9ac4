/** Checks presets that people write, as JSON or as objects: shape, sizes, and what no field says alone. */

import { MachineUsageError } from "../isa/errors.ts";
import { CPUS_MAX, PHYSICAL_BITS_MAX, PHYSICAL_BITS_MIN } from "../isa/limits.ts";
import { isPowerOfTwo } from "../isa/power-of-two.ts";
import { VENDORS } from "../isa/vendor.ts";
import {
  arrayOf,
  COST_CYCLES,
  checkThat,
  eachOf,
  type FieldCheck,
  type FieldProblem,
  fieldProblem,
  isRecord,
  numberFrom,
  objectOf,
  oneOf,
  setOf,
  wholeFrom,
} from "./field-checks.ts";
import { allTakenOver, BASES } from "./figure.ts";
import { INDEX_HASHES, indexHashProblem } from "./index-hash.ts";
import { SKYLAKE_LINES, ZEN2_LINES } from "./line-transfers.ts";
import { BRANCH_HISTORY_MODES, RETURN_MODES, SKYLAKE_MITIGATIONS, SPECTRE_V2_MODES } from "./mitigations.ts";
import { SKYLAKE_OVERLAP, ZEN2_OVERLAP } from "./overlap.ts";
import { type Preset, STRUCTURE_SHAPE_FIELDS, TLB_KINDS, TLB_PAGE_SIZES, TLB_SHAPE_FIELDS } from "./preset.ts";
import { REPLACEMENT_NAMES, replacementProblem } from "./replacement/index.ts";
import { INTEL_SHARED_CORE, ZEN2_SHARED_CORE } from "./shared-core.ts";
import { SKYLAKE } from "./skylake.ts";
import { AMD_VIRTUALIZATION, ICELAKE_VIRTUALIZATION, SKYLAKE_VIRTUALIZATION } from "./virtualization.ts";
import { SKYLAKE_ZEROING, ZEN2_ZEROING, type ZeroingCosts } from "./zeroing.ts";

/**
 * Entries of all TLBs and paging-structure caches of a CPU together, at the most. With all that belongs to it an entry takes
 * 50 to 90 bytes of the CPU's arrays (arch/tlb/cpu-arrays.ts): at most 90 MiB. FAST_PATH_OFF, which must be more than there
 * can be entries, is 16 times as many.
 */
const ENTRIES_MAX = 2 ** 20;
/** Entries of all CPUs of a machine together, at the most: up to 3 GiB. 4096 CPUs can have 8192 each. */
const MACHINE_ENTRIES_MAX = 2 ** 25;
/** TLBs of a CPU, at the most; real parts have 5 to 8. */
const TLBS_MAX = 64;
/** PCIDs that there are (Intel SDM vol. 3A, 4.10.1): a TLB cannot have to limit itself to more. */
const PCIDS = 2 ** 12;
/** Ways of a data cache, at the most: as of all structures (replacement/index.ts). */
const DATA_CACHE_WAYS_MAX = 128;
/** Ways of a cache of guest-physical mappings, at the most: as of all structures (replacement/index.ts). */
const GUEST_WAYS_MAX = 128;
/** Bytes of a line of a data cache. */
const LINE_BYTES = 64;
/** Bytes of all data caches of a CPU together, at the most: their 2^24 lines take 80 MiB, at 5 bytes a line, and 6 bytes a set. */
const DATA_CACHE_BYTES_MAX = 2 ** 30;
/** Levels of data caches, at the most; every fetch of a page-table entry asks all of them. */
const DATA_CACHE_LEVELS_MAX = 8;
/** Clock frequencies, in GHz: from 1 MHz to 1 THz. */
const GHZ_MIN = 0.001;
const GHZ_MAX = 1000;

/** Page walkers, and accesses under way, at the most. */
const WALKERS_MAX = 64;
const WINDOW_MAX = 4096;
/** Two threads that do not slow each other. */
const SHARED_CORE_MAX = 2;
/** A cache line that another CPU has, in nanoseconds. */
const LINE_NS_MAX = 1e6;
/** Idle times and latencies: up to a second. */
const IDLE_NS_MAX = 1e9;
const IDLE_STATES_MAX = 16;

const text = checkThat((value) => typeof value === "string" && value !== "", "a text that is not empty");
const powerOfTwo = checkThat(
  (value) => typeof value === "number" && value <= ENTRIES_MAX && isPowerOfTwo(value),
  `a power of two, at most ${ENTRIES_MAX}`,
);

const ORIGIN_FIELDS = { basis: oneOf(BASES), source: text };
const origin = objectOf(ORIGIN_FIELDS);

function figure(unit: string, value: FieldCheck): FieldCheck {
  return objectOf({ value, unit: oneOf([unit]), ...ORIGIN_FIELDS });
}

const cycles = figure("cycles", COST_CYCLES);

const geometry = { sets: powerOfTwo, ways: wholeFrom(1, ENTRIES_MAX), replacement: oneOf(REPLACEMENT_NAMES) };

const tlb = objectOf(
  {
    name: text,
    level: oneOf([1, 2]),
    kinds: setOf(TLB_KINDS),
    pageSizes: setOf(TLB_PAGE_SIZES),
    ...geometry,
    indexHash: oneOf(INDEX_HASHES),
    pcidCapacity: figure("PCIDs", wholeFrom(1, PCIDS)),
    origins: objectOf(eachOf(TLB_SHAPE_FIELDS, origin)),
  },
  ["pcidCapacity"],
);

const ownStructure = objectOf({ ...geometry, origins: objectOf(eachOf(STRUCTURE_SHAPE_FIELDS, origin)) });
const sharedStructure = objectOf({ sharedWith: text, origins: objectOf({ sharedWith: origin }) });
const structureCache: FieldCheck = (value, path) =>
  (isRecord(value) && Object.hasOwn(value, "sharedWith") ? sharedStructure : ownStructure)(value, path);

const STRUCTURES = ["pde", "pdpte", "pml4e", "pml5e"] as const;

const dataCache = objectOf({
  name: text,
  sizeBytes: figure("bytes", wholeFrom(LINE_BYTES, DATA_CACHE_BYTES_MAX)),
  ways: figure("ways", wholeFrom(1, DATA_CACHE_WAYS_MAX)),
  hitCycles: cycles,
});

const guestPhysicalCache = (waysMin: number) =>
  objectOf({
    sets: figure("sets", powerOfTwo),
    ways: figure("ways", wholeFrom(waysMin, GUEST_WAYS_MAX)),
  });

const virtualization = objectOf({
  features: objectOf(eachOf(Object.keys(SKYLAKE_VIRTUALIZATION.features), oneOf([true, false]))),
  invlpgDropsFractured: oneOf([true, false]),
  origins: objectOf({ features: origin, invlpgDropsFractured: origin }),
  guestPhysicalCaches: objectOf({ pages: guestPhysicalCache(0), ...eachOf(STRUCTURES, guestPhysicalCache(1)) }),
  costs: objectOf(eachOf(Object.keys(SKYLAKE_VIRTUALIZATION.costs), cycles)),
});

const mitigations = objectOf({
  selected: objectOf({
    pageTableIsolation: oneOf([true, false]),
    spectreV2: oneOf(SPECTRE_V2_MODES),
    returns: oneOf(RETURN_MODES),
    branchHistory: oneOf(BRANCH_HISTORY_MODES),
    clearCpuBuffers: oneOf([true, false]),
  }),
  origins: objectOf(eachOf(Object.keys(SKYLAKE_MITIGATIONS.selected), origin)),
  costs: objectOf({ ...eachOf(Object.keys(SKYLAKE_MITIGATIONS.costs), cycles), returnThunk: cycles }, ["returnThunk"]),
});

const idleTime = figure("ns", numberFrom(0, IDLE_NS_MAX));
const idleState = objectOf({ name: text, exitLatency: idleTime, targetResidency: idleTime });

const PRESET_FIELDS = {
  name: text,
  description: checkThat((value) => typeof value === "string", "a text"),
  vendor: oneOf(VENDORS),
  maxPhyAddr: figure("bits", wholeFrom(PHYSICAL_BITS_MIN, PHYSICAL_BITS_MAX)),
  frequencyGhz: figure("GHz", numberFrom(GHZ_MIN, GHZ_MAX)),
  features: objectOf(eachOf(Object.keys(SKYLAKE.features), oneOf([true, false]))),
  origins: objectOf({ features: origin }),
  tlbs: arrayOf(tlb, 1, TLBS_MAX),
  pagingStructureCaches: objectOf(eachOf(STRUCTURES, structureCache), STRUCTURES),
  dataCaches: arrayOf(dataCache, 0, DATA_CACHE_LEVELS_MAX),
  memory: cycles,
  lineTransfers: objectOf({
    coresPerCluster: figure("cores", wholeFrom(0, CPUS_MAX)),
    ...eachOf(["core", "cluster", "socket", "remote", "far"], figure("ns", numberFrom(0, LINE_NS_MAX))),
  }),
  sharedCore: objectOf({ throughput: figure("cores", numberFrom(1, SHARED_CORE_MAX)) }),
  overlap: objectOf({
    walkers: figure("walkers", wholeFrom(1, WALKERS_MAX)),
    window: figure("accesses", wholeFrom(1, WINDOW_MAX)),
  }),
  costs: objectOf(eachOf(Object.keys(SKYLAKE.costs), cycles)),
  virtualization,
  mitigations,
  idleStates: arrayOf(idleState, 1, IDLE_STATES_MAX),
};

const shapeProblem = objectOf(PRESET_FIELDS, ["mitigations", "idleStates"]);

/**
 * Checks an object that is to be the preset of a machine with `cpus` CPUs.
 * @throws MachineUsageError naming the first field that is wrong, its value and what was expected
 */
export function checkPreset(preset: unknown, cpus = 1): asserts preset is Preset {
  const problem = shapeProblem(preset, "") ?? ruleProblem(preset as Preset, cpus);
  if (problem === null) return;
  const { path, value, expected } = problem;
  throw new MachineUsageError(`preset: ${path === "" ? "the whole" : path}`, value, expected);
}

/**
 * A preset from parsed JSON. Files may leave out `vendor` (intel), the features `tce` and `rar` (false), `costs.remoteAction` and
 * those of `costs` that begin with zeroPage, `lineTransfers`, `sharedCore` and `overlap` (those of the vendor's first part here) and `virtualization` (that of a current part of
 * the vendor).
 * @throws MachineUsageError naming the first field that is wrong, its value and what was expected
 */
export function parsePreset(json: unknown): Preset {
  const ofVendor = withDefault(json, "vendor", "intel");
  const isAmd = isRecord(ofVendor) && ofVendor.vendor === "amd";
  const withGuests = withDefault(ofVendor, "virtualization", isAmd ? AMD_VIRTUALIZATION : ICELAKE_VIRTUALIZATION);
  const lines = allTakenOver(isAmd ? ZEN2_LINES : SKYLAKE_LINES, FIRST_PART);
  const overlap = allTakenOver(isAmd ? ZEN2_OVERLAP : SKYLAKE_OVERLAP, FIRST_PART);
  const sharedCore = allTakenOver(isAmd ? ZEN2_SHARED_CORE : INTEL_SHARED_CORE, FIRST_PART);
  const withLines = withDefault(withGuests, "lineTransfers", lines);
  const filled = withDefault(withDefault(withLines, "sharedCore", sharedCore), "overlap", overlap);
  const preset = isRecord(filled)
    ? {
        ...filled,
        ...("features" in filled
          ? { features: LATER_FEATURES.reduce((all, name) => withDefault(all, name, false), filled.features) }
          : {}),
        ...("costs" in filled ? { costs: withLaterCosts(filled.costs, isAmd ? ZEN2_ZEROING : SKYLAKE_ZEROING) } : {}),
      }
    : filled;
  checkPreset(preset);
  return JSON.parse(JSON.stringify(preset)) as Preset;
}

/** Where figures are from that a file leaves out. */
const FIRST_PART = "the vendor's first part here";

/** Features that presets did not name once. */
const LATER_FEATURES = ["tce", "rar", "lam", "lass", "uai"] as const;

/** Costs with those that presets did not name once. */
function withLaterCosts(costs: unknown, zeroing: ZeroingCosts): unknown {
  const later = { remoteAction: SKYLAKE.costs.remoteAction, ...allTakenOver(zeroing, FIRST_PART) };
  return Object.entries(later).reduce((all, [name, figure]) => withDefault(all, name, figure), costs);
}

function withDefault(value: unknown, key: string, absent: unknown): unknown {
  return isRecord(value) && !Object.hasOwn(value, key) ? { ...value, [key]: absent } : value;
}

/** What is wrong with a preset whose fields are right each by itself. */
function ruleProblem(preset: Preset, cpus: number): FieldProblem | null {
  return tlbProblem(preset) ?? structureProblem(preset) ?? entriesProblem(preset, cpus) ?? dataCacheProblem(preset);
}

function tlbProblem({ tlbs }: Preset): FieldProblem | null {
  for (const [index, { name, replacement, sets, ways, indexHash }] of tlbs.entries()) {
    const hashProblem = indexHashProblem(sets, indexHash);
    if (hashProblem !== null) return fieldProblem(`tlbs.${index}.sets`, sets, hashProblem);
    const problem = replacementProblem(replacement, ways);
    if (problem !== null) return fieldProblem(`tlbs.${index}.ways`, ways, `${problem} for ${replacement}`);
    if (tlbs.findIndex((other) => other.name === name) !== index) {
      return fieldProblem(`tlbs.${index}.name`, name, "a name that no other TLB has");
    }
  }
  for (const kind of TLB_KINDS) {
    const holds = tlbs.filter(
      ({ level, kinds, pageSizes }) => level === 1 && kinds.includes(kind) && pageSizes.includes("4K"),
    );
    if (holds.length !== 1)
      return fieldProblem("tlbs", `${holds.length} of level 1 with 4K for ${kind}`, "exactly one");
  }
  return null;
}

function structureProblem(preset: Preset): FieldProblem | null {
  const names = preset.tlbs.filter(({ level }) => level === 2).map(({ name }) => name);
  for (const structure of STRUCTURES) {
    const shape = preset.pagingStructureCaches[structure];
    if (shape === undefined) continue;
    const path = `pagingStructureCaches.${structure}`;
    if ("sharedWith" in shape) {
      if (names.includes(shape.sharedWith)) continue;
      const known = names.map((name) => `"${name}"`).join(", ");
      const expected =
        names.length > 0 ? `one of ${known}` : "sets, ways and replacement: there is nothing to share with";
      return fieldProblem(`${path}.sharedWith`, shape.sharedWith, expected);
    }
    const problem = replacementProblem(shape.replacement, shape.ways);
    if (problem !== null) return fieldProblem(`${path}.ways`, shape.ways, `${problem} for ${shape.replacement}`);
    names.push(structure);
  }
  return null;
}

/** Names the structure with which the entries become too many. */
function entriesProblem({ tlbs, pagingStructureCaches }: Preset, cpus: number): FieldProblem | null {
  const shapes = tlbs.map(({ sets, ways }, index) => ({ path: `tlbs.${index}`, sets, ways }));
  for (const structure of STRUCTURES) {
    const shape = pagingStructureCaches[structure];
    if (shape === undefined || "sharedWith" in shape) continue;
    shapes.push({ path: `pagingStructureCaches.${structure}`, sets: shape.sets, ways: shape.ways });
  }
  let entries = 0;
  for (const { path, sets, ways } of shapes) {
    entries += sets * ways;
    const tooMany = entries > ENTRIES_MAX || entries * cpus > MACHINE_ENTRIES_MAX;
    if (!tooMany) continue;
    const most = `at most ${ENTRIES_MAX} entries in all TLBs and paging-structure caches of a CPU`;
    return fieldProblem(`${path}.sets`, sets, `${most}, and ${MACHINE_ENTRIES_MAX} of all ${cpus} CPUs`);
  }
  return null;
}

function dataCacheProblem({ dataCaches }: Preset): FieldProblem | null {
  let total = 0;
  for (const [index, { sizeBytes, ways }] of dataCaches.entries()) {
    if (!isPowerOfTwo(sizeBytes.value / LINE_BYTES / ways.value)) {
      const expected = `a power of two of sets of ${LINE_BYTES}-byte lines in ${sizeBytes.value} bytes`;
      return fieldProblem(`dataCaches.${index}.ways.value`, ways.value, expected);
    }
    total += sizeBytes.value;
    if (total > DATA_CACHE_BYTES_MAX) {
      const expected = `at most ${DATA_CACHE_BYTES_MAX} bytes in all data caches`;
      return fieldProblem(`dataCaches.${index}.sizeBytes.value`, sizeBytes.value, expected);
    }
  }
  return null;
}
