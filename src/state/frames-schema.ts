/** The schema of the page allocator in a saved state. */
import { z } from "zod";
import type { FramesState } from "../../mm/frames/frames-state.ts";
import { columns, rows, table } from "./tables.ts";

const u8 = z.instanceof(Uint8Array);
const u16 = z.instanceof(Uint16Array);
const i32 = z.instanceof(Int32Array);
const u32 = z.instanceof(Uint32Array);
const f64 = z.instanceof(Float64Array);
const whole = z.number().int().nonnegative();

const lists = z.strictObject({ counts: u32, frames: u32 });

/** Frames, and where their lines are. */
export const FRAMES_SCHEMA = z.strictObject({
  allocatedPages: whole,
  freedPages: whole,
  ...columns(f64, "zoneStart", "zoneEnd", "zoneTouchedEnd"),
  use: u8,
  /** Absent in files of versions before 11. */
  onLru: u8.optional(),
  ...columns(lists, "freeBlocks", "cpuLists", "tableLists"),
  /** Only in files of versions before 9. */
  coldOfCpuLists: u32.optional(),
  /** Absent in files of versions before 9. */
  lines: rows(
    z.strictObject({
      ...columns(u16, "user", "zeroedBy"),
      ...columns(u32, "usedAt", "zeroedAt", "fetched"),
      lastFrame: f64,
      direction: i32,
      /** Absent in files of versions before 16. */
      nextZeroed: f64.optional(),
    }),
    "user",
    "zeroedBy",
    "usedAt",
    "zeroedAt",
  ).optional(),
  /** Absent without memory cgroups. */
  memcg: z.strictObject({ charged: u8, usagePages: f64, stockPages: i32, stockBytes: i32.optional() }).optional(),
  shared: table({ frame: u32, further: u32 }),
}) satisfies z.ZodType<FramesState>;
