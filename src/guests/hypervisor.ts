/**
 * A hypervisor that gives a guest memory as it touches it, in pages of one size: it makes second-stage tables of the preset's vendor and
 * maps a page where a guest-physical address has none. It takes no time but that of the VM exits that lead to it; what its own code
 * takes is the caller's to book (`GuestHost`).
 */
import {
  EPT_ACCESSED,
  EPT_DIRTY,
  EPT_EXECUTE,
  EPT_EXECUTE_USER,
  EPT_PAGE_SIZE,
  EPT_READ,
  EPT_WRITE,
  encodeEptp,
  entryFrame,
  entryHigh,
  entryLow,
  type Machine,
  type PhysicalMemory,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  type SecondStagePointer,
  type VmExit,
} from "../../arch/index.ts";
import { checkState } from "../../arch/isa/state-error.ts";
import { NotEnoughMemory } from "../../mm/index.ts";

/** Sizes of pages that both stages can have. */
export const GUEST_PAGE_SIZES = ["4K", "2M", "1G"] as const;
/** One of them. */
export type GuestPageSize = (typeof GUEST_PAGE_SIZES)[number];

/** Level of the entry that maps a page of a size. */
export function levelOfPage(size: GuestPageSize): 1 | 2 | 3 {
  return size === "4K" ? 1 : size === "2M" ? 2 : 3;
}

/** What a hypervisor gives its guest. */
export interface HypervisorOptions {
  /** Size of the pages that it maps guest memory with. */
  readonly pageSize: GuestPageSize;
  /** Levels of the second stage. */
  readonly levels: 4 | 5;
}

/** What a hypervisor has given, beside its tables, which are in the machine's memory. */
export interface HypervisorState {
  /** First frame that was given to nobody yet, and pages of the second stage's tables. */
  readonly nextFrame: number;
  readonly tablePages: number;
  /** Pages that are mapped, in the order in which they were: first guest-physical frame, first frame of the machine. */
  readonly guestFrame: Float64Array;
  readonly frame: Float64Array;
  /** First frames of pages that were taken back and given to nobody yet, the next one last. */
  readonly freed: Float64Array;
}

/** Where the frames begin that it gives away: at 4 GiB, above the hole for devices. */
const FIRST_FRAME = 2 ** 20;
/** Where devices are, and how many frames they have: at 3 GiB, below the frames that are given away. */
const DEVICE_FRAME = 0xc0000;
const DEVICE_FRAMES = FIRST_FRAME - DEVICE_FRAME;
/** With the accessed and dirty flags, as KVM makes an entry that an access asked for; without the ability to have them they are ignored. */
const EPT_RIGHTS = EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_EXECUTE_USER | EPT_ACCESSED;
const EPT_WRITE_BACK = 6 << 3;
const NESTED_RIGHTS = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/** The hypervisor of one guest. */
export class Hypervisor {
  /** Frame of the top table of the second stage. */
  readonly rootFrame: number;
  /** Pages mapped so far, of the size asked for. */
  pages = 0;
  /** Tables of the second stage. */
  tablePages = 0;
  /** The machine. */
  readonly machine: Machine;
  private readonly options: HypervisorOptions;
  private readonly isAmd: boolean;
  /** The machine's own memory: tables of the second stage, and what the guest is given. */
  private readonly memory: PhysicalMemory;
  private nextFrame = FIRST_FRAME;
  /** Pages that were taken back and are nobody's, by their first frame. */
  private readonly freed: number[] = [];
  /** Pages of guest-physical memory that are mapped, by their first frame, in the order in which they were. */
  private readonly mapped = new Set<number>();

  constructor(machine: Machine, options: HypervisorOptions) {
    this.machine = machine;
    this.options = options;
    this.isAmd = machine.preset.vendor === "amd";
    this.memory = machine.systemMemory;
    machine.hostMemory?.choosePageFrames(this.pageFrames);
    this.rootFrame = this.takeTable();
  }

  /** What a `Vcpu` needs to know of the second stage. */
  get secondStage(): SecondStagePointer {
    const { rootFrame, isAmd, options, machine } = this;
    if (isAmd) return { nestedCr3: rootFrame * 4096 };
    const accessedDirty = machine.preset.virtualization.features.eptAccessedDirty;
    return { eptp: encodeEptp({ rootFrame, levels: options.levels, accessedDirty }) };
  }

  /** Frames in a page that it maps. */
  get pageFrames(): number {
    return 512 ** (levelOfPage(this.options.pageSize) - 1);
  }

  /** Bytes of memory given to the guest. */
  get sizeBytes(): number {
    return this.pages * 4096 * this.pageFrames;
  }

  /**
   * Answers a VM exit: maps the page of the guest-physical address.
   * @throws NotEnoughMemory when the machine's memory has run out
   */
  handleExit(exit: VmExit): void {
    this.frameOf(Math.floor(exit.guestPhysicalAddress / 4096));
  }

  /** Maps all of `frames` guest-physical frames from `first` on. @throws NotEnoughMemory */
  giveAll(first: number, frames: number): void {
    const step = this.pageFrames;
    for (let frame = first; frame < first + frames; frame += step) this.frameOf(frame);
  }

  /**
   * The machine's frame of a guest-physical frame, whose page is mapped if it was not.
   * @throws NotEnoughMemory when the machine's memory has run out
   */
  frameOf(guestFrame: number): number {
    const { memory } = this;
    const lowest = levelOfPage(this.options.pageSize);
    let table = this.rootFrame;
    for (let level = this.options.levels as number; level > lowest; level--) {
      const word = 2 * (Math.floor(guestFrame / 512 ** (level - 1)) % 512);
      const low = memory.readWord(table, word);
      if (low !== 0) {
        table = entryFrame(low, memory.readWord(table, word + 1));
        continue;
      }
      const made = this.takeTable();
      this.writeEntry(table, word, made, this.isAmd ? NESTED_RIGHTS : EPT_RIGHTS);
      table = made;
    }
    const pageFrames = 512 ** (lowest - 1);
    const word = 2 * (Math.floor(guestFrame / pageFrames) % 512);
    const low = memory.readWord(table, word);
    if (low !== 0) {
      const first = entryFrame(low & ~0xfff, memory.readWord(table, word + 1));
      return first - (first % pageFrames) + (guestFrame % pageFrames);
    }
    const first = this.backing(guestFrame - (guestFrame % pageFrames), pageFrames);
    const size = lowest === 1 ? 0 : this.isAmd ? PTE_PAGE_SIZE : EPT_PAGE_SIZE;
    this.writeEntry(table, word, first, (this.isAmd ? NESTED_RIGHTS : EPT_RIGHTS | EPT_DIRTY | EPT_WRITE_BACK) | size);
    return first + (guestFrame % pageFrames);
  }

  /**
   * What backs a page of guest-physical memory. Where the guest has no memory there are registers of devices, which are passed through
   * to it: there is no memory behind them here either.
   */
  private backing(guestFirst: number, pageFrames: number): number {
    const { hostMemory } = this.machine;
    if (hostMemory !== null && !hostMemory.guest.has(guestFirst)) return DEVICE_FRAME + (guestFirst % DEVICE_FRAMES);
    const first = this.freed.pop() ?? this.take(pageFrames);
    this.pages++;
    this.mapped.add(guestFirst);
    hostMemory?.give(first, guestFirst);
    return first;
  }

  /**
   * Takes the page of a guest-physical frame away from the guest. It may still be cached, and has its bytes until {@link free} says that
   * it is not any more.
   * @returns its first frame, in a list that is empty when none was mapped
   */
  unmap(guestFrame: number): number[] {
    const { pageFrames } = this;
    const entry = this.leafOf(guestFrame);
    if (entry === null || entry.frame < FIRST_FRAME) return [];
    const first = entry.frame - (entry.frame % pageFrames);
    this.memory.writeWord(entry.table, entry.word, 0);
    this.memory.writeWord(entry.table, entry.word + 1, 0);
    this.mapped.delete(guestFrame - (guestFrame % pageFrames));
    this.pages--;
    return [first];
  }

  /** Pages that were taken away can be given again. */
  free(frames: readonly number[]): void {
    for (const first of frames) {
      this.machine.hostMemory?.takeBack(first);
      this.freed.push(first);
    }
  }

  /** First guest-physical frames of up to `count` pages that are mapped, those mapped first before others. */
  oldest(count: number): number[] {
    const found: number[] = [];
    for (const first of this.mapped) {
      if (found.length >= count) break;
      found.push(first);
    }
    return found;
  }

  /** Copies what it has given, for saved states. */
  capture(): HypervisorState {
    const { nextFrame, tablePages } = this;
    const guestFrame = Float64Array.from(this.mapped);
    const frame = guestFrame.map((first) => this.leafOf(first)?.frame ?? 0);
    return { nextFrame, tablePages, guestFrame, frame, freed: Float64Array.from(this.freed) };
  }

  /** Brings a hypervisor that has given nothing yet into a captured state, but for its tables. @throws StateError */
  restore({ nextFrame, tablePages, guestFrame, frame, freed }: HypervisorState): void {
    checkState("hypervisor", guestFrame.length === frame.length, "has guest-physical pages without frames");
    this.nextFrame = nextFrame;
    this.tablePages = tablePages;
    this.pages = guestFrame.length;
    this.mapped.clear();
    guestFrame.forEach((first, row) => {
      const fits = first % this.pageFrames === 0 && frame[row] % this.pageFrames === 0 && this.memory.has(frame[row]);
      checkState("hypervisor", fits, `cannot give frame 0x${frame[row].toString(16)}`);
      this.mapped.add(first);
      this.machine.hostMemory?.give(frame[row], first);
    });
    const taken = new Set(frame);
    for (const first of freed) {
      const isFree = first >= FIRST_FRAME && first % this.pageFrames === 0 && first < nextFrame && !taken.has(first);
      checkState("hypervisor", isFree, `has not taken back frame 0x${first.toString(16)}`);
      taken.add(first);
    }
    this.freed.splice(0, this.freed.length, ...freed);
  }

  /** The entry that maps a guest-physical frame; null when none does. */
  private leafOf(guestFrame: number): { readonly table: number; readonly word: number; readonly frame: number } | null {
    const { memory } = this;
    const lowest = levelOfPage(this.options.pageSize);
    let frame = this.rootFrame;
    for (let level = this.options.levels as number; ; level--) {
      const table = frame;
      const word = 2 * (Math.floor(guestFrame / 512 ** (level - 1)) % 512);
      const low = memory.readWord(table, word);
      if (low === 0) return null;
      frame = entryFrame(low & ~0xfff, memory.readWord(table, word + 1));
      if (level === lowest) return { table, word, frame };
    }
  }

  private writeEntry(table: number, word: number, frame: number, bits: number): void {
    const { memory } = this;
    memory.writeWord(table, word, entryLow(frame, bits));
    memory.writeWord(table, word + 1, entryHigh(frame, 0));
  }

  private takeTable(): number {
    this.tablePages++;
    return this.take(1);
  }

  /** Takes a page of so many frames, a power of two, aligned to its size. */
  private take(frames: number): number {
    const first = Math.ceil(this.nextFrame / frames) * frames;
    if (!this.memory.has(first + frames - 1)) {
      throw new NotEnoughMemory("the machine has no memory left for its guest");
    }
    this.nextFrame = first + frames;
    return first;
  }
}
