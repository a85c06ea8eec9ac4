/** The part of the schema of saved states that is the emulated machine. */
import { z } from "zod";
import { columns, rows, table } from "./tables.ts";

const u8 = z.instanceof(Uint8Array);
const u16 = z.instanceof(Uint16Array);
const u32 = z.instanceof(Uint32Array);
const i32 = z.instanceof(Int32Array);
const f64 = z.instanceof(Float64Array);
const u64 = z.instanceof(BigUint64Array);
const count = z.number().nonnegative();
const whole = z.number().int().nonnegative();
const texts = z.array(z.string());

const tlbEntries = rows(
  z.strictObject({
    structures: texts,
    structure: u32,
    slot: u32,
    address: f64,
    size: u8,
    level: u8,
    pcid: u16,
    frame: f64,
    flags: u16,
    replacement: u16,
    pcidCounts: u16,
    recentPcids: u16,
    /** Absent where no entry can be a guest's. */
    guests: z.strictObject({ vpid: u16, flags: u8, recentVpids: u16 }).optional(),
  }),
  "structure",
  "slot",
  "address",
  "size",
  "level",
  "pcid",
  "frame",
  "flags",
);

const cpus = z.strictObject({
  registers: rows(
    z.strictObject({
      ...columns(f64, "cr0", "cr2", "cr3", "cr4", "efer", "pkru", "pkrs"),
      cr2Offset: u16.optional(),
      lamUser: u8.optional(),
      cpl: u8,
      alignmentCheck: u8,
      memoryTypeMsrs: u32,
      memoryTypes: u64,
    }),
    "cr0",
    "cr2",
    "cr3",
    "cr4",
    "efer",
    "pkru",
    "pkrs",
    "cr2Offset",
    "lamUser",
    "cpl",
    "alignmentCheck",
  ),
  counters: z.strictObject({
    ...columns(f64, "accesses", "secondLevelHits", "walks", "walkFaults", "walkCycles", "bitsSet", "pageFaults"),
    ...columns(f64, "invlpg", "invpcid", "movCr3", "movCr3NoFlush", "movCr4Flush", "invlpgb"),
    ...columns(f64, "firstLevelFlushes", "secondLevelFlushes"),
    walkCyclesTogether: f64.optional(),
    walkCyclesHidden: f64.optional(),
    guests: f64.optional(),
  }),
  /** Absent where the CPUs are no vCPUs. */
  guests: z.strictObject({ guestPhysical: tlbEntries, pieces: table({ cpu: u16, vpid: u16 }) }).optional(),
  tlbs: tlbEntries,
  walkCaches: z.strictObject({
    lastLine: f64,
    lines: table({ cpu: u16, level: u8, slot: u32, line: f64 }),
    sets: table({ cpu: u16, level: u8, set: u32, state: u16 }),
  }),
  /** Absent where the CPUs have no remote actions. */
  remoteActions: z.strictObject(columns(f64, "control", "actionVector", "payloadBase")).optional(),
  unsyncedInvlpgbs: z.array(
    z.strictObject({
      cpu: whole,
      la: count.nullable(),
      pages: whole,
      strideBytes: whole,
      asid: whole.nullable().optional(),
      pcid: whole.nullable(),
      includeGlobals: z.boolean(),
      finalOnly: z.boolean(),
      tables: z.enum(["none", "of the page", "of the PCID", "all"]),
    }),
  ),
  /** Absent where no independent accesses are under way. */
  overlaps: z
    .array(
      z.strictObject({
        cpu: whole,
        completed: count,
        issued: count,
        walked: count,
        ...columns(f64, "walkers", "window", "walking"),
      }),
    )
    .optional(),
});

const frames = z.strictObject({ frames: u32, words: i32 });

/** The emulated machine: memory, CPUs and their TLBs, clocks, flush accounts. */
export const MACHINE_SCHEMA = z.strictObject({
  memory: frames,
  /** Absent where the memory is the machine's own. */
  hostMemory: frames.optional(),
  loop: z.strictObject({
    clockCycles: f64,
    interruptsOff: i32,
    currentCpu: whole,
    accounts: z.strictObject({
      activities: texts,
      current: i32,
      ...columns(f64, "since", "walksSince", "linesSince", "cycles"),
    }),
    lines: rows(
      rows(
        z.strictObject({
          ...columns(u32, "line", "sharedLine"),
          ...columns(u16, "holder", "sharedCpu"),
          waitedCycles: f64,
          /** Only in files of versions before 12, the queued ones of versions 9 to 11. */
          ...columns(f64.optional(), "busyFrom", "busyUntil", "queuedFrom", "queuedUntil"),
          queuedLine: u32.optional(),
        }),
        "line",
        "holder",
      ),
      "sharedLine",
      "sharedCpu",
    ),
    queued: z.array(z.strictObject({ work: z.string(), cpu: whole, readyCycles: count })),
  }),
  cpus,
  attribution: z
    .strictObject({
      unexplainedWalks: f64,
      unflushed: tlbEntries,
      removed: table({
        side: u8,
        flush: u32,
        /** Absent in files of versions before 15. */
        structure: u32.optional(),
        slot: u32.optional(),
        /** Only in files of versions before 15. */
        cpu: u16.optional(),
        address: f64.optional(),
        size: u8.optional(),
        pcid: u16.optional(),
        vpid: u16.optional(),
      }),
      costs: table({ cpu: u16, flush: u32, refills: f64, walkCycles: f64 }),
    })
    .nullable(),
});
