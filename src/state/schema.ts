/**
 * The schema of saved states: every name and type in a file, by subject. The types come from the parts whose state it is; the schema
 * is written out here all the same, so that a change of a part without one of the format's version does not compile.
 */
import { z } from "zod";
import { FRAMES_SCHEMA } from "./frames-schema.ts";
import { HOST_SCHEMA } from "./host-schema.ts";
import type { KernelState } from "./kernel-state.ts";
import { MACHINE_SCHEMA } from "./machine-schema.ts";
import { SLABS_SCHEMA } from "./slab-schema.ts";
import { columns, rows, table } from "./tables.ts";

const u8 = z.instanceof(Uint8Array);
const u16 = z.instanceof(Uint16Array);
const u32 = z.instanceof(Uint32Array);
const i32 = z.instanceof(Int32Array);
const f64 = z.instanceof(Float64Array);
const count = z.number().nonnegative();
const whole = z.number().int().nonnegative();
const texts = z.array(z.string());

const ranges = table({ start: f64, end: f64 });
const locks = table({ lastCpu: i32, freeAtCycles: f64 });
const pageTables = z.strictObject({ rootFrame: whole, leavesSet: whole, leavesCleared: whole, tables: z.array(whole) });
const allocations = [
  "frame",
  "pageTable",
  "vmapArea",
  "vmapAreaPreload",
  "vmStruct",
  "pageArray",
  "vmapBlock",
  "blockIndex",
  "memtype",
];
const cacheModes = ["wb", "wc", "uc-", "uc", "wt", "wp"] as const;

const flushAccounts = z.strictObject({
  refills: z.boolean(),
  perCpu: z.boolean(),
  causes: texts,
  policies: texts,
  flushes: rows(
    z.strictObject({
      ...columns(u8, "cause", "policy", "full"),
      cpu: u16,
      ...columns(
        f64,
        "start",
        "end",
        "atCycles",
        "workCycles",
        "waitCycles",
        "stolenCycles",
        "lineCycles",
        "stolenFromRunningCycles",
      ),
      ...columns(f64, "interrupted", "deferred", "freedPages", "frees", "stolenFrom"),
    }),
    "cause",
    "policy",
    "full",
    "cpu",
    "start",
    "end",
    "atCycles",
    "workCycles",
    "waitCycles",
    "stolenCycles",
    "lineCycles",
    "stolenFromRunningCycles",
    "interrupted",
    "deferred",
    "freedPages",
    "frees",
  ),
  origins: texts,
  frees: table({ pages: i32, start: f64, cpu: u16, atCycles: f64, flush: i32, origin: u32 }),
});

const lockdep = z.strictObject({
  debugLocks: z.boolean(),
  asserted: texts,
  dependencies: z.array(z.strictObject({ held: z.string(), taken: z.string(), thread: z.string() })),
});

const mm = z.strictObject({
  log: z.strictObject({ lines: texts, warnings: whole, warnedOnce: texts }),
  faults: z.strictObject({
    isArmed: z.boolean(),
    seen: whole,
    failing: whole.nullable(),
    kind: z.enum(allocations as [AllocationName, ...AllocationName[]]).nullable(),
    times: whole.nullable().optional(),
  }),
  frames: FRAMES_SCHEMA,
  tables: pageTables,
  memoryTypes: z.array(z.strictObject({ start: count, end: count, mode: z.enum(cacheModes) })),
  flushing: z.strictObject({
    fullFlushes: whole,
    rangeFlushes: whole,
    vmstat: z.strictObject(columns(whole, "remoteFlush", "remoteFlushReceived", "localFlushAll", "localFlushOne")),
    ipisSent: whole,
    ipisTaken: f64,
    vmlistLock: locks,
    /** Absent where the policy needs none. */
    rarLocks: locks.optional(),
    userMode: z.strictObject({ inUser: u8, kernelActivity: texts }),
    accounts: flushAccounts.nullable(),
  }),
  locks: z.strictObject({ names: texts, values: f64 }),
  /** Absent in files of versions before 9. Times only in files of version 9. */
  zoneLocks: z.strictObject({ cpu: i32, from: f64.optional(), until: f64.optional() }).optional(),
  /** Absent where attributes of kernel pages have never been changed. */
  cpaLock: locks.optional(),
  /** Absent in files of versions before 8. */
  slabs: SLABS_SCHEMA.optional(),
  lockdep: lockdep.optional(),
});
type AllocationName = NonNullable<KernelState["mm"]["faults"]["kind"]>;

/** Objects of slab caches are absent in files of versions before 8. */
const areaRows = { counts: u32, start: f64, end: f64, flags: i32, object: i32.optional() };

const vmalloc = z.strictObject({
  ...columns(whole, "lazyNr", "nrVmallocPages", "purges", "purgesWithAreas"),
  areas: z.strictObject({
    free: table({ start: f64, end: f64, shape: u8, object: i32.optional() }),
    busy: rows(z.strictObject({ ...areaRows, vm: u32 }), "start", "end", "flags", "vm", "object"),
    lazy: rows(
      z.strictObject({ ...areaRows, freed: u32, freedBy: i32.optional() }),
      "start",
      "end",
      "flags",
      "freed",
      "freedBy",
      "object",
    ),
    pooled: rows(z.strictObject({ ...areaRows, pool: u16 }), "start", "end", "flags", "pool", "object"),
    preloaded: u8.optional(),
    preloadedObject: i32.optional(),
    lost: whole,
  }),
  vmStructs: rows(
    z.strictObject({
      flags: i32,
      ...columns(f64, "requestedSizeBytes", "physAddr", "pagesAddr"),
      ...columns(u32, "caller", "pages", "frames"),
      callers: texts,
      ...columns(u8, "pageOrder", "oneZone", "hasArray"),
      ...columns(i32.optional(), "object", "arrayObject"),
      lost: whole,
    }),
    "flags",
    "requestedSizeBytes",
    "physAddr",
    "pagesAddr",
    "caller",
    "pages",
    "pageOrder",
    "oneZone",
    "hasArray",
    "object",
    "arrayObject",
  ),
  blocks: rows(
    z.strictObject({
      ...columns(u32, "area", "queueCounts", "queued"),
      ...columns(u16, "cpu", "hash"),
      ...columns(i32, "free", "dirty", "dirtyMin", "dirtyMax", "usedMap", "roundedMap"),
      object: i32.optional(),
      ...columns(locks, "locks", "queueLocks", "spareLocks"),
    }),
    "area",
    "cpu",
    "hash",
    "free",
    "dirty",
    "dirtyMin",
    "dirtyMax",
    "object",
  ),
  locks,
  /** Absent where the kernel has no cache of executable memory, or has not used it. */
  execmem: z.strictObject({ busy: ranges, free: ranges, mutex: locks }).optional(),
  deferredFrees: z.array(z.strictObject({ cpu: whole, addresses: z.array(count) })),
});

const user = z.strictObject({
  usesPcids: z.boolean(),
  lastCtxId: whole,
  globalAsids: z.strictObject({ used: u8, freed: u8, last: whole, available: whole }),
  tlbStates: z.array(
    z.strictObject({
      loadedCtxId: whole,
      loadedAsid: whole,
      isLazy: z.boolean(),
      invalidateOther: z.boolean(),
      asidCtxId: z.array(whole),
      asidTlbGen: z.array(whole),
      nextAsid: whole,
      userFlushMask: whole,
      userFlushFor: z.array(whole),
    }),
  ),
  loaded: u32,
  shootdowns: f64,
  lruBatched: i32,
  /** Absent in files of versions before 11. */
  lruFrames: u32.optional(),
  lruLock: locks,
  mms: z.array(
    z.strictObject({
      ctxId: whole,
      tables: pageTables,
      userRootFrame: whole,
      tlbGen: whole,
      globalAsid: whole,
      inAsidTransition: z.boolean(),
      remoteFlushes: whole,
      hasEnded: z.boolean().optional(),
      /** Absent in files of versions before 8. */
      object: whole.optional(),
      /** Absent in files of versions before 13. */
      vmas: table({
        start: f64,
        end: f64,
        id: u32,
        /** Absent in files of versions before 14. */
        pgoff: f64.optional(),
        /** Absent in files of versions before 15. */
        keepsPgoff: u8.optional(),
      }).optional(),
      lastVma: whole.optional(),
      cpus: z.array(whole),
    }),
  ),
  mmapLocks: table({
    lastCpu: i32,
    freeAtCycles: f64,
    /** Absent, as the next, in files of versions before 15. */
    readFreeAtCycles: f64.optional(),
    flags: u8.optional(),
  }),
});

/** What follows the header. */
export const STATE_SCHEMA = z.strictObject({
  currentCpu: whole,
  machine: MACHINE_SCHEMA,
  mm,
  vmalloc,
  user: user.nullable(),
  host: HOST_SCHEMA.nullable(),
}) satisfies z.ZodType<KernelState>;
