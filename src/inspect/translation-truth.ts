/** Whether what a CPU has cached agrees with the page tables, and which flush is owed where it does not. */
import type { CachedTable, CachedTranslation } from "../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { PAGE_SIZE, UPPER_HALF } from "../../arch/isa/linear-address.ts";
import { type HostMemory, NOT_GIVEN } from "../../arch/memory/host-memory.ts";
import { probeSecondStage } from "../../arch/walk/second-stage-probe.ts";
import { type MmStruct, UserSpaces } from "../../mm/index.ts";
import { tableDifference, translationDifference } from "../../mm/verify/verify-tlbs.ts";
import type { Kernel } from "../machine/kernel.ts";

/** PCIDs from this on are those of user mode with page-table isolation. */
const USER_PCIDS = 2 ** 11;

const UNDER_WAY = "the call that is under way";

/** A range whose translations somebody has to flush. */
interface Owed {
  readonly start: number;
  readonly end: number;
  readonly by: string;
}

/** What a translation said that was compared, and in what it disagreed. */
interface Compared {
  readonly sizeBytes: number;
  readonly frame: number;
  readonly flags: number;
  readonly difference: string | null;
}

/** What the page tables say. */
export class TranslationTruth {
  private readonly kernel: Kernel;
  private readonly spaces: UserSpaces | null;
  private readonly isStill: boolean;
  /** Bytes of the pages that the host maps the guest's memory with; null without a host. */
  readonly hostPageBytes: number | null;
  private owed: readonly Owed[] | null = null;
  /** Kernel translations that were compared before, by address: CPUs have many in common. */
  private readonly compared = new Map<number, Compared>();

  /** @param isStill whether nothing happens on the machine while it is asked: it then compares what CPUs have in common once */
  constructor(kernel: Kernel, isStill = true) {
    this.kernel = kernel;
    this.isStill = isStill;
    this.hostPageBytes = kernel.host === null ? null : kernel.host.hypervisor.pageFrames * PAGE_SIZE;
    const { userSpaces } = kernel.mm;
    this.spaces = userSpaces instanceof UserSpaces ? userSpaces : null;
  }

  /**
   * In what a translation disagrees with the page tables; null when it agrees, or when it belongs to an address space that no CPU has
   * loaded, whose tables nobody knows any more.
   */
  ofTranslation(cpu: Cpu, entry: CachedTranslation): string | null {
    const { tables } = this.kernel;
    if (entry.la < UPPER_HALF) {
      const mm = this.addressSpaceOf(cpu, entry.pcid);
      return mm === null ? null : translationDifference(mm.tables, entry);
    }
    if (!this.isStill) return translationDifference(tables, entry);
    const { la, sizeBytes, frame, flags } = entry;
    const known = this.compared.get(la);
    if (known?.sizeBytes === sizeBytes && known.frame === frame && known.flags === flags) return known.difference;
    const difference = translationDifference(tables, entry);
    this.compared.set(la, { sizeBytes, frame, flags, difference });
    return difference;
  }

  /**
   * In what a translation of a guest, of both stages together, disagrees with their tables; null when it agrees, or when nobody knows.
   * @param id the VPID or ASID
   */
  ofGuest(cpu: Cpu, id: number, entry: CachedTranslation): string | null {
    const vcpu = this.vcpuOf(cpu, id);
    if (vcpu === null) return null;
    const { hostMemory } = this.kernel.machine;
    if (hostMemory === null) return differenceOfWalk(vcpu, entry);
    const frame = guestFrameOf(hostMemory, entry.frame);
    return typeof frame === "number" ? this.ofTranslation(vcpu, { ...entry, frame }) : frame;
  }

  /** In what a cached entry of a table of a guest disagrees with both stages; null as for translations. */
  ofGuestTable(cpu: Cpu, id: number, entry: CachedTable): string | null {
    const vcpu = this.vcpuOf(cpu, id);
    const { hostMemory } = this.kernel.machine;
    if (vcpu === null || hostMemory === null) return null;
    const frame = guestFrameOf(hostMemory, entry.frame);
    return typeof frame === "number" ? this.ofTable(vcpu, { ...entry, frame }) : frame;
  }

  /**
   * In what a cached guest-physical mapping disagrees with the second stage; null when it agrees, or when the CPU is in the host.
   * @param level of the entry; 0 for a mapping of a page
   */
  ofGuestPhysical(cpu: Cpu, guestFrame: number, level: number, frame: number): string | null {
    const stage = cpu.mmu.guest?.walker.stage ?? null;
    if (stage === null) return null;
    const { systemMemory } = this.kernel.machine;
    const probe = probeSecondStage(guestFrame, stage, systemMemory);
    const at = probe.levels.find((each) => each.level === level);
    const mapped = level === 0 ? probe.frame : at?.present === true ? frameOfEntry(at.entry) : null;
    if (mapped === null)
      return level === 0 ? "the second stage maps nothing there" : "the second stage has no table there";
    return mapped === frame ? null : `the second stage has frame 0x${mapped.toString(16)} there`;
  }

  /** The vCPU of a VPID or ASID: `cpu`, or another that works with the same TLBs; null when there is none. */
  vcpuOf(cpu: Cpu, id: number): Cpu | null {
    if (cpu.vcpu?.id === id) return cpu;
    return this.kernel.machine.cpus.find(({ vcpu }) => vcpu?.id === id) ?? null;
  }

  /** In what a cached entry of a table disagrees with the page tables; null as for translations. */
  ofTable(cpu: Cpu, entry: CachedTable): string | null {
    // The entry of a top table is each address space's own.
    if (entry.la >= UPPER_HALF && entry.level < 4) return tableDifference(this.kernel.tables, entry);
    const mm = this.addressSpaceOf(cpu, entry.pcid);
    if (mm !== null) return tableDifference(mm.tables, entry);
    return this.spaces === null && entry.la >= UPPER_HALF ? tableDifference(this.kernel.tables, entry) : null;
  }

  /** What will flush a stale entry, or keep it from being used; empty when nothing will. */
  owedBy(cpu: Cpu, la: number, pcid: number | null): string {
    const { pcid: loadedPcid } = cpu.mmu;
    if (this.kernel.mm.flushing.host?.owesFlush(cpu.id)) return "its next VM entry";
    if (this.kernel.vm.flushing.userMode.owes(cpu.id)) return "this CPU's next entry into the kernel";
    if (la >= UPPER_HALF) {
      this.owed ??= owedFlushes(this.kernel);
      const found = this.owed.find(({ start, end }) => start <= la && la < end);
      if (found !== undefined) return found.by;
    }
    const mm = this.addressSpaceOf(cpu, pcid);
    if (mm === null || this.spaces === null || pcid === null) return "";
    const { tlbGen, isLazy } = this.spaces.tlbStates[cpu.id];
    const have = tlbGen[(pcid % USER_PCIDS) - 1] ?? mm.tlbGen;
    const behind = `(tlb_gen ${have} of ${mm.tlbGen})`;
    if (pcid !== loadedPcid && have < mm.tlbGen) return `the switch to its address space ${behind}`;
    if (isLazy && have < mm.tlbGen) return `the way back from lazy mode ${behind}`;
    if (have < mm.tlbGen) return `the flush that is under way ${behind}`;
    return mm.tables.owed.ranges().some(({ start, end }) => start <= la && la < end) ? UNDER_WAY : "";
  }

  /** The address space that a PCID of a CPU stands for, as far as some CPU has it loaded. */
  private addressSpaceOf(cpu: Cpu, pcid: number | null): Pick<MmStruct, "tables" | "tlbGen"> | null {
    const { spaces } = this;
    if (spaces === null || pcid === null) return null;
    if (pcid === cpu.mmu.pcid || !spaces.usesPcids) return spaces.loaded[cpu.id];
    const ctxId = spaces.tlbStates[cpu.id].ctxId[(pcid % USER_PCIDS) - 1];
    return spaces.loaded.find((mm) => mm.ctxId === ctxId) ?? null;
  }
}

/** In what a translation of a guest disagrees with a walk of both stages, as far as its address space is loaded. */
function differenceOfWalk(cpu: Cpu, { la, frame, pcid }: CachedTranslation): string | null {
  if (pcid !== null && pcid !== cpu.mmu.pcid) return null;
  const { physical, outcome } = cpu.probe(la);
  if (physical === null)
    return outcome === "second stage" ? "the second stage maps nothing there" : "nothing is mapped there";
  const mapped = Math.floor(physical / PAGE_SIZE);
  return mapped === frame ? null : `both stages map frame 0x${mapped.toString(16)} there`;
}

/** The guest-physical frame that a frame of the host backs; in words what is wrong when it backs none, null where devices are. */
function guestFrameOf(memory: HostMemory, frame: number): number | string | null {
  if (!memory.has(frame)) return null;
  const guestFrame = memory.guestFrameOf(frame);
  return guestFrame === NOT_GIVEN ? `the guest does not have frame 0x${frame.toString(16)} of the host` : guestFrame;
}

/** The frame that an entry names. */
function frameOfEntry(entry: bigint): number {
  return Number((entry >> 12n) & 0xff_ffff_ffffn);
}

/** The ranges of kernel addresses whose flush is owed, and by whom. */
function owedFlushes({ vm, tables }: Kernel): Owed[] {
  const { areas, blocks } = vm;
  const owed: Owed[] = [];
  const list = (head: number, by: string): void => {
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      owed.push({ start: areas.startOf(area), end: areas.endOf(area), by });
    }
  };
  for (const node of vm.nodes) {
    list(node.lazy.tree.head, "the purge of its lazily freed area");
    list(node.purgeList, "the purge that is under way");
  }
  for (const index of blocks.index) {
    for (const block of index.values()) {
      const start = areas.startOf(blocks.area[block]);
      if (blocks.dirtyMax[block] === 0) continue;
      const [first, last] = [blocks.dirtyMin[block], blocks.dirtyMax[block]];
      const by = "vm_unmap_aliases, or the purge of its block";
      owed.push({ start: start + first * PAGE_SIZE, end: start + last * PAGE_SIZE, by });
    }
  }
  return owed.concat(tables.owed.ranges().map(({ start, end }) => ({ start, end, by: UNDER_WAY })));
}
