/**
 * The CPUs' registers, counters, TLBs and caches, for saved states. What the host keeps to be fast (predictions, the last PDE of a
 * walk) is not part of it: the fast path only does what the general path would.
 */
import { GeneralProtectionFault } from "../isa/faults.ts";
import { checkState, StateError } from "../isa/state-error.ts";
import type { TableEntries } from "../isa/vendor.ts";
import type { OverlapState } from "../time/overlap-window.ts";
import * as count from "../time/perf-counters.ts";
import type { GuestNumbers } from "../tlb/guest-numbers.ts";
import { captureTlbEntries, restoreTlbEntries, type TlbEntries } from "../tlb/tlb-entries.ts";
import { captureWalkCacheLines, restoreWalkCacheLines, type WalkCacheLines } from "../tlb/walk-cache-lines.ts";
import type { Cpu } from "./cpu.ts";
import { MSR_RAR_CTRL } from "./remote-actions.ts";

/** All CPUs. Arrays have one element a CPU, in the CPUs' order, unless said otherwise. */
export interface CpusState {
  readonly registers: {
    readonly cr0: Float64Array;
    /** CR2: the linear address of the last page fault, or its wide page (linear-address.ts). */
    readonly cr2: Float64Array;
    /** Offsets in wide pages of CR2; absent where there are none. */
    readonly cr2Offset?: Uint16Array | undefined;
    /** With the PCID in bits 11:0. */
    readonly cr3: Float64Array;
    /** Bits 62:61 of CR3 (linear-address masking); absent where all are 0. */
    readonly lamUser?: Uint8Array | undefined;
    readonly cr4: Float64Array;
    readonly efer: Float64Array;
    readonly pkru: Float64Array;
    readonly pkrs: Float64Array;
    readonly cpl: Uint8Array;
    /** EFLAGS.AC. */
    readonly alignmentCheck: Uint8Array;
    /** Numbers of the model-specific registers of memory types (PAT, MTRRs), and their values: all of a CPU, CPU by CPU. */
    readonly memoryTypeMsrs: Uint32Array;
    readonly memoryTypes: BigUint64Array;
  };
  readonly counters: CpuCounts;
  /** First and second level, then paging-structure caches of their own; CPU by CPU. */
  readonly tlbs: TlbEntries;
  readonly walkCaches: WalkCacheLines;
  /** What they have cached of their guests; absent where they are no vCPUs. */
  readonly guests?: GuestCaches | undefined;
  /** Registers of remote actions; absent where the CPUs have none. */
  readonly remoteActions?: RemoteActionsState | undefined;
  /** INVLPGBs for which no TLBSYNC was done yet: which CPU issued each, and what others may still have to carry out. */
  readonly unsyncedInvlpgbs: readonly UnsyncedInvlpgb[];
  /** Independent accesses that the next one may overlap with; absent where there are none. */
  readonly overlaps?: readonly CpuOverlap[] | undefined;
}

/** What of the independent accesses of one CPU is under way. */
export interface CpuOverlap extends OverlapState {
  readonly cpu: number;
}

/** What physical CPUs, each known by the first of its vCPUs, have cached of guests beside combined entries. */
export interface GuestCaches {
  /** Guest-physical mappings: pages, then entries of tables by level; CPU by CPU. Addresses are guest-physical. */
  readonly guestPhysical: TlbEntries;
  /** VPIDs or ASIDs of which pieces of larger pages may be cached: a row each. */
  readonly pieces: { readonly cpu: Uint16Array; readonly vpid: Uint16Array };
}

/** Registers of remote actions (RAR), one a CPU. */
export interface RemoteActionsState {
  readonly control: Float64Array;
  /** Physical addresses. */
  readonly actionVector: Float64Array;
  readonly payloadBase: Float64Array;
}

/** One INVLPGB; its fields are those of {@link InvlpgbBroadcast}. */
export interface UnsyncedInvlpgb {
  readonly cpu: number;
  readonly la: number | null;
  readonly pages: number;
  readonly strideBytes: number;
  /** Absent: 0, the host's. */
  readonly asid?: number | null | undefined;
  readonly pcid: number | null;
  readonly includeGlobals: boolean;
  readonly finalOnly: boolean;
  /** Which entries that refer to tables it removes. */
  readonly tables: TableEntries;
}

/** Event counters. Those by kind of access have three elements a CPU: loads, stores, fetches. */
export interface CpuCounts {
  readonly accesses: Float64Array;
  readonly secondLevelHits: Float64Array;
  /** Completed walks that found a page: nine a CPU, for each kind those to 4 KiB, 2 MiB and 1 GiB pages. */
  readonly walks: Float64Array;
  readonly walkFaults: Float64Array;
  readonly walkCycles: Float64Array;
  /** Cycles of walks beside others, three a CPU, and cycles of walks that the clock did not wait for; absent where all are 0. */
  readonly walkCyclesTogether?: Float64Array | undefined;
  readonly walkCyclesHidden?: Float64Array | undefined;
  /** Entries in which a walk set A or D. */
  readonly bitsSet: Float64Array;
  readonly pageFaults: Float64Array;
  readonly invlpg: Float64Array;
  /** By type: four a CPU. */
  readonly invpcid: Float64Array;
  readonly movCr3: Float64Array;
  readonly movCr3NoFlush: Float64Array;
  readonly movCr4Flush: Float64Array;
  readonly invlpgb: Float64Array;
  readonly firstLevelFlushes: Float64Array;
  readonly secondLevelFlushes: Float64Array;
  /** Of vCPUs, ten a CPU: VM entries and exits, EPT violations and misconfigurations, nested page faults, INVEPT, INVVPID, INVLPGA, walks of the second stage and their cycles. */
  readonly guests?: Float64Array | undefined;
}

/** Counters that are left out where they are 0. */
type RareCounts = "walkCyclesTogether" | "walkCyclesHidden" | "guests";

const RARE_PLACES: readonly (readonly [name: RareCounts, first: number, length: number])[] = [
  ["walkCyclesTogether", count.COUNT_WALK_TOGETHER, 3],
  ["walkCyclesHidden", count.COUNT_WALK_HIDDEN, 1],
  ["guests", count.COUNT_VM_ENTRY, 10],
];

/** Where each of the other {@link CpuCounts} is among a CPU's counters, and how many there are. */
const PLACES: readonly (readonly [name: Exclude<keyof CpuCounts, RareCounts>, first: number, length: number])[] = [
  ["accesses", count.COUNT_ACCESS, 3],
  ["secondLevelHits", count.COUNT_SECOND_LEVEL_HIT, 3],
  ["walks", count.COUNT_WALK, 9],
  ["walkFaults", count.COUNT_WALK_FAULT, 3],
  ["walkCycles", count.COUNT_WALK_CYCLES, 3],
  ["bitsSet", count.COUNT_BITS_SET, 1],
  ["pageFaults", count.COUNT_PAGE_FAULT, 1],
  ["invlpg", count.COUNT_INVLPG, 1],
  ["invpcid", count.COUNT_INVPCID, 4],
  ["movCr3", count.COUNT_MOV_CR3, 1],
  ["movCr3NoFlush", count.COUNT_MOV_CR3_NO_FLUSH, 1],
  ["movCr4Flush", count.COUNT_MOV_CR4_FLUSH, 1],
  ["invlpgb", count.COUNT_INVLPGB, 1],
  ["firstLevelFlushes", count.COUNT_FLUSH_FIRST, 1],
  ["secondLevelFlushes", count.COUNT_FLUSH_SECOND, 1],
];

/**
 * Copies the state of `cpus`.
 * @param areVcpus whether they are the vCPUs of one guest, all in it; by default none has run a guest
 * @throws StateError when that is not so
 */
export function captureCpus(cpus: readonly Cpu[], areVcpus = false): CpusState {
  if (areVcpus) {
    const outside = cpus.find(({ vcpu }) => vcpu === null);
    checkState(`CPU ${outside?.id}`, outside === undefined, "has left its guest");
  } else {
    const withGuests = cpus.find(({ virtualization }) => virtualization.numbers.count > 0);
    checkState(`CPU ${withGuests?.id}`, withGuests === undefined, "has run guests, whose state is not saved");
  }
  const owners = withOwnCaches(cpus);
  const doubles = (of: (cpu: Cpu) => number) => Float64Array.from(cpus, of);
  const overlaps = captureOverlaps(cpus);
  const msrs = cpus[0].memoryTypes.writableRegisters();
  return {
    registers: {
      cr0: doubles(({ registers }) => registers.cr0),
      cr2: doubles(({ mmu }) => mmu.faultAddress),
      ...(cpus.some(({ registers }) => registers.lamUser !== 0)
        ? { lamUser: Uint8Array.from(cpus, ({ registers }) => registers.lamUser) }
        : {}),
      ...(cpus.some(({ mmu }) => mmu.faultOffset !== 0)
        ? { cr2Offset: Uint16Array.from(cpus, ({ mmu }) => mmu.faultOffset) }
        : {}),
      cr3: doubles(({ registers }) => registers.cr3),
      cr4: doubles(({ registers }) => registers.cr4),
      efer: doubles(({ registers }) => registers.efer),
      pkru: doubles(({ registers }) => registers.pkru),
      pkrs: doubles(({ registers }) => registers.pkrs),
      cpl: Uint8Array.from(cpus, ({ registers }) => registers.cpl),
      alignmentCheck: Uint8Array.from(cpus, ({ registers }) => (registers.alignmentCheck ? 1 : 0)),
      memoryTypeMsrs: Uint32Array.from(msrs),
      memoryTypes: BigUint64Array.from(cpus.flatMap(({ memoryTypes }) => msrs.map((msr) => memoryTypes.read(msr)))),
    },
    counters: captureCounts(cpus),
    tlbs: captureTlbEntries(structuresOf(owners), areVcpus ? numbersOf(owners, structuresOf) : null),
    walkCaches: captureWalkCacheLines(owners.map(({ mmu }) => mmu.walkCaches)),
    ...(areVcpus ? { guests: captureGuestCaches(owners) } : {}),
    ...(cpus[0].remoteActions.hasRegister(MSR_RAR_CTRL) ? { remoteActions: captureRemoteActions(cpus) } : {}),
    unsyncedInvlpgbs: cpus.flatMap(({ id, invalidations }) =>
      invalidations.unsynced.map(({ broadcast, tables }) => ({ cpu: id, ...broadcast, tables })),
    ),
    ...(overlaps.length === 0 ? {} : { overlaps }),
  };
}

function captureOverlaps(cpus: readonly Cpu[]): CpuOverlap[] {
  return cpus.flatMap(({ id, independent }) =>
    independent.areUnderWay ? [{ cpu: id, ...independent.window.capture() }] : [],
  );
}

function restoreOverlaps(cpus: readonly Cpu[], overlaps: readonly CpuOverlap[]): void {
  for (const { independent } of cpus) independent.window.completed = Number.NaN;
  for (const overlap of overlaps) {
    const cpu = cpus.find(({ id }) => id === overlap.cpu);
    checkState("independent accesses", cpu?.independent.window.fits(overlap) === true, `do not fit CPU ${overlap.cpu}`);
    cpu?.independent.window.restore(overlap);
  }
}

/**
 * Brings `cpus` into a captured state.
 * @throws StateError when they are others
 */
export function restoreCpus(cpus: readonly Cpu[], state: CpusState): void {
  const { registers } = state;
  checkState("CPUs", registers.cr0.length === cpus.length, `are ${cpus.length}, not ${registers.cr0.length}`);
  const msrs = cpus[0].memoryTypes.writableRegisters();
  const known = registers.memoryTypeMsrs;
  const areSame = msrs.join() === known.join() && registers.memoryTypes.length === cpus.length * msrs.length;
  checkState("CPUs", areSame, "have other registers of memory types");
  cpus.forEach((cpu, i) => {
    msrs.forEach((msr, k) => {
      writeMemoryTypes(cpu, msr, registers.memoryTypes[i * msrs.length + k]);
    });
    cpu.registers.restore({
      cr0: registers.cr0[i],
      cr3: registers.cr3[i],
      lamUser: registers.lamUser?.[i] ?? 0,
      cr4: registers.cr4[i],
      efer: registers.efer[i],
      pkru: registers.pkru[i],
      pkrs: registers.pkrs[i],
      cpl: registers.cpl[i],
      alignmentCheck: registers.alignmentCheck[i] !== 0,
    });
    cpu.mmu.faultAddress = registers.cr2[i];
    cpu.mmu.faultOffset = registers.cr2Offset?.[i] ?? 0;
    cpu.invalidations.setUnsynced(
      state.unsyncedInvlpgbs
        .filter((each) => each.cpu === i)
        .map(({ cpu: _, tables, asid, ...broadcast }) => ({ broadcast: { ...broadcast, asid: asid ?? 0 }, tables })),
    );
  });
  if (state.remoteActions !== undefined) restoreRemoteActions(cpus, state.remoteActions);
  restoreCounts(cpus, state.counters);
  const owners = withOwnCaches(cpus);
  const areVcpus = state.guests !== undefined;
  restoreTlbEntries(structuresOf(owners), state.tlbs, areVcpus ? numbersOf(owners, structuresOf) : null);
  restoreWalkCacheLines(
    owners.map(({ mmu }) => mmu.walkCaches),
    state.walkCaches,
  );
  if (state.guests !== undefined) restoreGuestCaches(owners, state.guests);
  restoreOverlaps(cpus, state.overlaps ?? []);
}

/** CPUs that have caches of their own: of vCPUs that share a physical CPU, the first. */
export function withOwnCaches(cpus: readonly Cpu[]): Cpu[] {
  const known = new Set<object>();
  return cpus.filter(({ mmu }) => !known.has(mmu.tlbs) && known.add(mmu.tlbs));
}

/** For each structure of each CPU the numbers of its guests. */
function numbersOf(cpus: readonly Cpu[], structures: (cpus: readonly Cpu[]) => readonly object[]): GuestNumbers[] {
  return cpus.flatMap((cpu) => structures([cpu]).map(() => cpu.virtualization.numbers));
}

function captureGuestCaches(owners: readonly Cpu[]): GuestCaches {
  const pieces = owners.flatMap(({ id, mmu, virtualization }) =>
    [...mmu.fractured].map((number) => ({ cpu: id, vpid: virtualization.numbers.idOf(number) })),
  );
  return {
    guestPhysical: captureTlbEntries(guestPhysicalOf(owners), numbersOf(owners, guestPhysicalOf)),
    pieces: {
      cpu: Uint16Array.from(pieces, ({ cpu }) => cpu),
      vpid: Uint16Array.from(pieces, ({ vpid }) => vpid),
    },
  };
}

function restoreGuestCaches(owners: readonly Cpu[], { guestPhysical, pieces }: GuestCaches): void {
  restoreTlbEntries(guestPhysicalOf(owners), guestPhysical, numbersOf(owners, guestPhysicalOf));
  for (const { mmu } of owners) mmu.fractured.clear();
  pieces.cpu.forEach((cpu, row) => {
    const owner = owners.find(({ id }) => id === cpu);
    const [number] = owner?.virtualization.numbers.ofId(pieces.vpid[row]) ?? [];
    checkState("pieces of pages", number !== undefined, `are of VPID or ASID ${pieces.vpid[row]} of CPU ${cpu}`);
    owner?.mmu.fractured.add(number);
  });
}

function guestPhysicalOf(cpus: readonly Cpu[]) {
  return cpus.flatMap(({ virtualization }) => virtualization.ownPhysicalCaches().all());
}

function captureRemoteActions(cpus: readonly Cpu[]): RemoteActionsState {
  const registers = cpus.map(({ remoteActions }) => remoteActions.capture());
  return {
    control: Float64Array.from(registers, ({ control }) => control),
    actionVector: Float64Array.from(registers, ({ actionVector }) => actionVector),
    payloadBase: Float64Array.from(registers, ({ payloadBase }) => payloadBase),
  };
}

function restoreRemoteActions(cpus: readonly Cpu[], state: RemoteActionsState): void {
  const { control, actionVector, payloadBase } = state;
  const fits = [control, actionVector, payloadBase].every(({ length }) => length === cpus.length);
  checkState("registers of remote actions", fits, `are not those of ${cpus.length} CPUs`);
  cpus.forEach(({ remoteActions }, i) => {
    remoteActions.restore({ control: control[i], actionVector: actionVector[i], payloadBase: payloadBase[i] });
  });
}

function structuresOf(cpus: readonly Cpu[]) {
  return cpus.flatMap(({ mmu }) => [...mmu.tlbs.first, ...mmu.tlbs.second, ...mmu.structures.structures()]);
}

/** The counts of both paths together: which of them did the work does not matter. */
function captureCounts(cpus: readonly Cpu[]): CpuCounts {
  const counts: Partial<Record<keyof CpuCounts, Float64Array>> = {};
  for (const [name, first, length] of PLACES) counts[name] = columnOf(cpus, first, length);
  for (const [name, first, length] of RARE_PLACES) {
    const column = columnOf(cpus, first, length);
    if (column.some((cycles) => cycles !== 0)) counts[name] = column;
  }
  const { accesses, secondLevelHits, walks } = counts as Record<keyof CpuCounts, Float64Array>;
  cpus.forEach(({ mmu }, cpu) => {
    for (let kind = 0; kind < 3; kind++) {
      const hits = mmu.counts[count.COUNT_FAST_SECOND_LEVEL_HIT + kind];
      const fastWalks = mmu.counts[count.COUNT_FAST_WALK + kind];
      accesses[cpu * 3 + kind] += hits + fastWalks;
      secondLevelHits[cpu * 3 + kind] += hits;
      walks[cpu * 9 + kind * 3] += fastWalks;
    }
  });
  return counts as CpuCounts;
}

/** Some counters of all CPUs, CPU by CPU. */
function columnOf(cpus: readonly Cpu[], first: number, length: number): Float64Array {
  const column = new Float64Array(cpus.length * length);
  cpus.forEach(({ mmu }, cpu) => {
    for (let i = 0; i < length; i++) column[cpu * length + i] = mmu.counts[first + i];
  });
  return column;
}

/** Writes a register of memory types. @throws StateError for what the CPU refuses */
function writeMemoryTypes(cpu: Cpu, msr: number, value: bigint): void {
  try {
    cpu.memoryTypes.write(msr, value);
  } catch (error) {
    if (error instanceof GeneralProtectionFault) throw new StateError(`CPU ${cpu.id}`, error.reason);
    throw error;
  }
}

function restoreCounts(cpus: readonly Cpu[], counts: CpuCounts): void {
  for (const [name, first, length] of [...PLACES, ...RARE_PLACES]) {
    const column = counts[name] ?? new Float64Array(cpus.length * length);
    checkState("counters", column.length === cpus.length * length, `${name} are not those of ${cpus.length} CPUs`);
    cpus.forEach(({ mmu }, cpu) => {
      for (let i = 0; i < length; i++) mmu.counts[first + i] = column[cpu * length + i];
    });
  }
  for (const { mmu } of cpus) {
    for (let kind = 0; kind < 3; kind++) {
      mmu.counts[count.COUNT_FAST_SECOND_LEVEL_HIT + kind] = 0;
      mmu.counts[count.COUNT_FAST_WALK + kind] = 0;
    }
  }
}
