/** The schema of the host of a guest in a saved state. */
import { z } from "zod";
import type { HostState } from "../guests/host-state.ts";
import { columns, rows, table } from "./tables.ts";

const u8 = z.instanceof(Uint8Array);
const u16 = z.instanceof(Uint16Array);
const u32 = z.instanceof(Uint32Array);
const i32 = z.instanceof(Int32Array);
const f64 = z.instanceof(Float64Array);
const whole = z.number().int().nonnegative();

const SCAN = z.strictObject({ cpu: whole, atCycles: z.number().nonnegative() });

/** What a host knows of its guest; `KernelState.host`. */
export const HOST_SCHEMA = z.strictObject({
  hypervisor: rows(
    z.strictObject({
      ...columns(whole, "nextFrame", "tablePages"),
      ...columns(f64, "guestFrame", "frame", "freed"),
    }),
    "guestFrame",
    "frame",
  ),
  scheduler: z.strictObject({
    current: i32,
    ...columns(f64, "sliceStart", "stolenCycles", "preemptions", "offSince"),
  }),
  counts: z.strictObject(columns(f64, "faults", "icrWrites", "resumptions", "exitCycles")),
  owedFlushes: table({ vcpu: u16, flush: u32, isPaid: u8 }),
  unmapping: z.strictObject({ ...columns(whole, "pages", "unmappings", "kicks"), owed: u8, nextScan: SCAN.optional() }),
}) satisfies z.ZodType<HostState>;
