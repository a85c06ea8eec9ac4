/** The schema of slab caches in a saved state. */
import { z } from "zod";
import type { SlabsState } from "../../mm/slab/slab-state.ts";
import { columns, rows } from "./tables.ts";

const u16 = z.instanceof(Uint16Array);
const i32 = z.instanceof(Int32Array);
const f64 = z.instanceof(Float64Array);

const slabCache = rows(
  rows(
    z.strictObject({
      name: z.string(),
      ...columns(i32, "cpuFreelist", "cpuSlab", "cpuPartial", "cpuPartialSlabs", "nodeHead", "nodeTail", "nrPartial"),
      lockCpu: i32,
      /** Only in files of versions before 10. */
      ...columns(f64.optional(), "lockFrom", "lockUntil"),
      ...columns(i32, "where", "freelist", "inuse", "next", "previous", "node"),
      slabCpu: u16,
      unused: z.number().int().nonnegative(),
      nextFree: i32,
      objectCpu: u16,
    }),
    "where",
    "freelist",
    "inuse",
    "next",
    "previous",
    "node",
    "slabCpu",
  ),
  "nextFree",
  "objectCpu",
);

/** All caches that have ever had a slab. */
export const SLABS_SCHEMA = z.strictObject({
  caches: z.array(slabCache),
  pageBlocks: u16,
}) satisfies z.ZodType<SlabsState>;
