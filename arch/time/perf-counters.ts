/**
 * Event counters of a CPU, under the names that `perf list` gives the events of Intel CPUs, and others of this machine's own.
 * Each access counts once, when it completes; a `walk_completed` may end with a fault, as in Intel's event reference.
 */

/** Index of the counter of loads, but for those that {@link COUNT_FAST_SECOND_LEVEL_HIT} and the next count; stores and fetches follow. */
export const COUNT_ACCESS = 0;
/** Second-level hits of the general path, by kind of access (load 0, store 1, fetch 2). */
export const COUNT_SECOND_LEVEL_HIT = 3;
/** Completed walks of the general path that found a page, by kind * 3 + page size. */
export const COUNT_WALK = 6;
/** Walks that ended with a page fault, by kind. */
export const COUNT_WALK_FAULT = 15;
/** Cycles in which a walk was under way, by kind. */
export const COUNT_WALK_CYCLES = 18;
/** Entries in which a walk set A or D. */
export const COUNT_BITS_SET = 21;
/** Page faults. */
export const COUNT_PAGE_FAULT = 22;
/** Invalidations, by instruction, and their effects. */
export const COUNT_INVLPG = 23;
/** INVPCID of each type. */
export const COUNT_INVPCID = 24;
/** MOVs to CR3 that removed translations. */
export const COUNT_MOV_CR3 = 28;
/** MOVs to CR3 that kept them. */
export const COUNT_MOV_CR3_NO_FLUSH = 29;
/** MOVs to CR4 that removed translations. */
export const COUNT_MOV_CR4_FLUSH = 30;
/** INVLPGBs issued. */
export const COUNT_INVLPGB = 31;
/** Full flushes of the first level and of the second. */
export const COUNT_FLUSH_FIRST = 32;
/** Full flushes of the second level. */
export const COUNT_FLUSH_SECOND = 33;
/** Accesses that the fast path (arch/fast-path) did after a second-level hit, by kind of access. */
export const COUNT_FAST_SECOND_LEVEL_HIT = 34;
/** Accesses that the fast path did after a walk to a page of 4 KiB, by kind of access. */
export const COUNT_FAST_WALK = 37;
/** VM entries. */
export const COUNT_VM_ENTRY = 40;
/** VM exits, whatever their reason. */
export const COUNT_VM_EXIT = 41;
/** VM exits by an EPT violation. */
export const COUNT_EPT_VIOLATION = 42;
/** VM exits by an EPT misconfiguration. */
export const COUNT_EPT_MISCONFIGURATION = 43;
/** VM exits by a nested page fault. */
export const COUNT_NESTED_PAGE_FAULT = 44;
/** INVEPT. */
export const COUNT_INVEPT = 45;
/** INVVPID. */
export const COUNT_INVVPID = 46;
/** INVLPGA. */
export const COUNT_INVLPGA = 47;
/** Walks of the second stage, which no cached guest-physical mapping made unnecessary. */
export const COUNT_SECOND_STAGE_WALK = 48;
/** Cycles of the fetches of their entries, which are part of those of the guest's walks. */
export const COUNT_SECOND_STAGE_CYCLES = 49;
/** Cycles of walks in which an earlier one of the same kind was under way too (overlap-window.ts), by kind: walk_pending less walk_active. */
export const COUNT_WALK_TOGETHER = 50;
/** Cycles in which a walk was under way, of all kinds, that the clock did not wait for: those beside other work of the CPU. */
export const COUNT_WALK_HIDDEN = 53;
/** Number of counters. */
export const COUNTERS = 54;

const KIND_EVENTS = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"] as const;
const GENERIC_EVENTS = ["dTLB-load", "dTLB-store", "iTLB-load"] as const;

/** What is counted of guests, from {@link COUNT_VM_ENTRY} on; named where a CPU has run any, or was told to forget them. */
const GUEST_EVENTS = [
  "vm_entries",
  "vm_exits",
  "ept_violations",
  "ept_misconfigurations",
  "nested_page_faults",
  "invept",
  "invvpid",
  "invlpga",
  "second_stage.walks",
  "second_stage.walk_active",
] as const;

/** Counters by name. */
export type CounterSnapshot = Readonly<Record<string, number>>;

/** All counters of a CPU by name, from its raw counts. */
export function snapshotCounters(counts: Float64Array): CounterSnapshot {
  const named: Record<string, number> = {};
  GENERIC_EVENTS.forEach((event, kind) => {
    const short = counts[COUNT_FAST_SECOND_LEVEL_HIT + kind] + counts[COUNT_FAST_WALK + kind];
    named[`${event}s`] = counts[COUNT_ACCESS + kind] + short;
    named[`${event}-misses`] = completedWalks(counts, kind);
  });
  KIND_EVENTS.forEach((event, kind) => {
    const walk = COUNT_WALK + kind * 3;
    named[`${event}.walk_completed`] = completedWalks(counts, kind);
    named[`${event}.walk_completed_4k`] = counts[walk] + counts[COUNT_FAST_WALK + kind];
    named[`${event}.walk_completed_2m_4m`] = counts[walk + 1];
    named[`${event}.walk_completed_1g`] = counts[walk + 2];
    named[`${event}.walk_active`] = counts[COUNT_WALK_CYCLES + kind];
    if (hasTogether(counts)) named[`${event}.walk_pending`] = walkLatencyCycles(counts, kind);
    named[`${event}.stlb_hit`] = counts[COUNT_SECOND_LEVEL_HIT + kind] + counts[COUNT_FAST_SECOND_LEVEL_HIT + kind];
  });
  named["tlb_flush.dtlb_thread"] = counts[COUNT_FLUSH_FIRST];
  named["tlb_flush.stlb_any"] = counts[COUNT_FLUSH_SECOND];
  named["page-faults"] = counts[COUNT_PAGE_FAULT];
  named["accessed-dirty-updates"] = counts[COUNT_BITS_SET];
  named.invlpg = counts[COUNT_INVLPG];
  for (let type = 0; type < 4; type++) named[`invpcid.type_${type}`] = counts[COUNT_INVPCID + type];
  named["mov_cr3.flush"] = counts[COUNT_MOV_CR3];
  named["mov_cr3.no_flush"] = counts[COUNT_MOV_CR3_NO_FLUSH];
  named["mov_cr4.flush"] = counts[COUNT_MOV_CR4_FLUSH];
  named.invlpgb = counts[COUNT_INVLPGB];
  if (counts[COUNT_VM_ENTRY] > 0 || counts[COUNT_INVEPT] + counts[COUNT_INVVPID] + counts[COUNT_INVLPGA] > 0) {
    GUEST_EVENTS.forEach((event, index) => {
      named[event] = counts[COUNT_VM_ENTRY + index];
    });
  }
  return named;
}

/** What was counted between two snapshots. */
export function counterDifference(before: CounterSnapshot, after: CounterSnapshot): CounterSnapshot {
  const difference: Record<string, number> = {};
  for (const [name, count] of Object.entries(after)) difference[name] = count - (before[name] ?? 0);
  return difference;
}

/** The sum of several CPUs' snapshots. */
export function sumCounters(snapshots: readonly CounterSnapshot[]): CounterSnapshot {
  const sum: Record<string, number> = {};
  for (const snapshot of snapshots) {
    for (const [name, count] of Object.entries(snapshot)) sum[name] = (sum[name] ?? 0) + count;
  }
  return sum;
}

/** Cycles of walks of one kind: of those that overlap, the cycles of each. */
export function walkLatencyCycles(counts: Float64Array, kind: number): number {
  return counts[COUNT_WALK_CYCLES + kind] + counts[COUNT_WALK_TOGETHER + kind];
}

function hasTogether(counts: Float64Array): boolean {
  return counts[COUNT_WALK_TOGETHER] + counts[COUNT_WALK_TOGETHER + 1] + counts[COUNT_WALK_TOGETHER + 2] > 0;
}

function completedWalks(counts: Float64Array, kind: number): number {
  const walk = COUNT_WALK + kind * 3;
  const found = counts[walk] + counts[walk + 1] + counts[walk + 2] + counts[COUNT_FAST_WALK + kind];
  return found + counts[COUNT_WALK_FAULT + kind];
}
