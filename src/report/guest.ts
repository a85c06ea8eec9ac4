/** What the host of a guest did, as plain data. */
import type { Machine } from "../../arch/index.ts";
import type { Balloon } from "../guests/balloon.ts";
import type { GuestHost, VcpuCounts } from "../guests/guest-host.ts";

/** The host of a guest. Times are cycles, sizes are bytes. */
export interface GuestReport {
  readonly hostPages: string;
  /** Physical CPUs, among which the vCPUs are shared out in turn. */
  readonly physicalCpus: number;
  /** Memory that the guest was given so far, in pages of the host; and the pages of its second stage. */
  readonly memoryBytes: number;
  readonly tablePages: number;
  /** Pages that the host took away again, and vCPUs that it kicked for that; absent when it took none. */
  readonly unmapped?: { readonly pages: number; readonly kicks: number };
  /** What the guest's balloon did: how often it was inflated and emptied, and pages of 4 KiB given to the host; absent without one. */
  readonly balloon?: { readonly inflations: number; readonly deflations: number; readonly pagesGiven: number };
  /** By vCPU. */
  readonly vcpus: readonly (VcpuCounts & {
    /** Walks of the second stage that no cached guest-physical mapping made unnecessary, and the cycles of their fetches. */
    readonly secondStageWalks: number;
    readonly secondStageCycles: number;
    /** How often it lost its physical CPU to another vCPU, and cycles in which it had something to do and did not run. */
    readonly preemptions: number;
    readonly stolenCycles: number;
  })[];
}

function balloonReport({ inflations, deflations, pagesGiven }: Balloon): NonNullable<GuestReport["balloon"]> {
  return { inflations, deflations, pagesGiven };
}

/** What the host has done so far. */
export function guestReport({ cpus, config }: Machine, host: GuestHost): GuestReport {
  const { hypervisor, counts, scheduler } = host;
  return {
    hostPages: host.config.hostPages ?? "4K",
    physicalCpus: config.physicalCpus,
    memoryBytes: hypervisor.sizeBytes,
    tablePages: hypervisor.tablePages,
    ...(host.unmapping === null || host.unmapping.pages === 0
      ? {}
      : { unmapped: { pages: host.unmapping.pages, kicks: host.unmapping.kicks } }),
    ...(host.balloon === null ? {} : { balloon: balloonReport(host.balloon) }),
    vcpus: cpus.map((cpu) => {
      const counters = cpu.counters();
      return {
        ...counts[cpu.id],
        secondStageWalks: counters["second_stage.walks"] ?? 0,
        secondStageCycles: counters["second_stage.walk_active"] ?? 0,
        preemptions: scheduler.preemptions[cpu.id],
        stolenCycles: scheduler.stolenCycles[cpu.id],
      };
    }),
  };
}
