/** The schema of the configuration in a saved state: what the saved kernel was booted with. */
import { z } from "zod";
import {
  DEFAULT_KERNEL_COSTS,
  DESTINATION_MODES,
  type KernelCosts,
  MITIGATION_MODES,
  SPINLOCK_KINDS,
  type VmallocConfig,
} from "../../mm/index.ts";
import { GUEST_PAGE_SIZES } from "../guests/hypervisor.ts";
import { columns } from "./tables.ts";

const count = z.number().nonnegative();
const whole = z.number().int().nonnegative();

const byDistance = z.tuple([count, count, count, count, count, count]);

const costs = z.strictObject({
  lock: z.strictObject(columns(count, "uncontendedCycles", "handOverTransfers")),
  ipi: z.strictObject({
    destinationMode: z.enum(DESTINATION_MODES),
    latencyCycles: byDistance,
    ...columns(count, "sendCycles", "entryCycles", "exitCycles", "idleWakeCycles"),
  }),
  flush: z.strictObject(columns(count, "callCycles", "localCycles", "broadcastCpuCycles")),
  pages: z.strictObject({
    ...columns(count, "listCycles", "freeBatchCycles", "buddyCycles", "zeroCallCycles"),
    unchargeCycles: count.default(DEFAULT_KERNEL_COSTS.pages.unchargeCycles),
    ...columns(count, "slabCycles", "tableWalkCycles", "chargeCycles"),
  }),
  /** Absent in files of versions before 8. */
  slab: z
    .strictObject(columns(count, "slowCycles", "irqCycles", "partialCycles", "objectCycles"))
    .default(DEFAULT_KERNEL_COSTS.slab),
  user: z.strictObject({
    ...columns(count, "faultCycles", "mprotectCycles", "madviseCycles", "munmapCycles"),
    /** Absent in files of versions before 13. */
    readFaultCycles: count.default(DEFAULT_KERNEL_COSTS.user.readFaultCycles),
    mmapCycles: count.default(DEFAULT_KERNEL_COSTS.user.mmapCycles),
    zapZeroPageCycles: count.default(DEFAULT_KERNEL_COSTS.user.zapZeroPageCycles),
    ...columns(
      count,
      "protectEntryCycles",
      "zapEntryCycles",
      "lruCycles",
      "forkCycles",
      "copyEntryCycles",
      "copyPageCycles",
    ),
  }),
  ...columns(count, "contextSwitchCycles", "kernelEntryCycles", "kernelExitCycles", "treeStepCycles"),
  ...columns(count, "entryWriteCycles", "callCycles"),
}) satisfies z.ZodType<KernelCosts>;

/** What a hypervisor's code costs: cycles, `slice` and `haltPoll` in nanoseconds. */
const hypervisorCosts = z.strictObject(
  columns(count, "dispatch", "fault", "icr", "vcpuSwitch", "wake", "zap", "slice", "haltPoll"),
);

const vmallocConfig = z.strictObject({
  ...columns(whole, "onlineCpus", "possibleCpus", "nrCpus", "vmapNodes", "zoneSizeBytes", "lazyMaxPages"),
  ...columns(whole, "blockPages", "purgeThresholdPages", "ioremapMaxPageShift"),
  ...columns(z.boolean(), "allowHuge", "upstreamQuirks"),
}) satisfies z.ZodType<VmallocConfig>;

/** The configuration that the saved kernel was booted with: all of it, so that a change of a default changes no saved kernel. */
export const CONFIG_SCHEMA = z.strictObject({
  cpus: whole,
  memoryBytes: count,
  /** A preset as people write them (`parsePreset`). */
  preset: z.unknown(),
  features: z.record(z.string(), z.boolean()),
  topology: z.strictObject({
    ...columns(whole, "sockets", "coresPerSocket", "threadsPerCore"),
    coresPerCluster: whole.optional(),
  }),
  numaNodes: whole,
  kernel: z.string(),
  flushPolicy: z.string(),
  isolatedCpus: z.array(whole),
  pageTableIsolation: z.boolean(),
  /** Absent where it is off. */
  flushFreedTables: z.boolean().optional(),
  /** Absent where locking is not checked. */
  proveLocking: z.boolean().optional(),
  /** Absent where they are not chosen. */
  mitigations: z.enum(MITIGATION_MODES).optional(),
  /** Absent without memory cgroups. */
  memcgLevels: whole.optional(),
  /** Absent where they are not chosen, and in files of versions before 16. */
  spinlocks: z.enum(SPINLOCK_KINDS).optional(),
  /** Absent where there is one state only. */
  idleStates: z.string().optional(),
  flushCeilingPages: whole,
  /** Absent where the kernel is no guest. */
  guest: z
    .strictObject({
      guestPages: z.enum(GUEST_PAGE_SIZES).optional(),
      hostPages: z.enum(GUEST_PAGE_SIZES),
      physicalCpus: whole,
      numaBalancing: z.strictObject({ pages: whole, periodUsec: whole }).optional(),
      /** Absent where they are as always. */
      costs: hypervisorCosts.optional(),
    })
    .optional(),
  costs,
  vmalloc: vmallocConfig,
});
