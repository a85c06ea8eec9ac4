/**
 * Who pays for a walk, slowly and plainly: TLBs that see no flush, and a table of which flush was the last to remove each page. It sees
 * each access of a CPU on the general path, in place of the CPU's `FlushAttribution`.
 */
import type { Preset } from "../../../arch/index.ts";
import { GLOBAL_CONTEXT, SIZE_BYTES, SIZE_TABLE, TR_GLOBAL, TR_SIZE_SHIFT } from "../../../arch/isa/translation.ts";
import { allocateArrays } from "../../../arch/tlb/allocate-arrays.ts";
import type { FlushAttribution } from "../../../arch/tlb/flush-attribution.ts";
import { TlbHierarchy } from "../../../arch/tlb/tlb-hierarchy.ts";
import { takeGeneralPath } from "../fast-path/compare.ts";
import type { Guest } from "../guest.ts";

/** What a CPU tells of. */
type Watcher = Pick<FlushAttribution, "beforeLookup" | "hit" | "refill">;

export class AttributionModel implements Watcher {
  currentFlush = 0;
  unexplainedWalks = 0;
  readonly costs = new Map<number, { refills: number; walkCycles: number }>();
  private readonly unflushed: TlbHierarchy;
  private readonly tlbs: TlbHierarchy;
  private readonly lastFlush = new Map<string, number>();

  constructor(preset: Preset, { cpu }: Guest) {
    this.unflushed = new TlbHierarchy(preset, allocateArrays(preset));
    this.tlbs = cpu.mmu.tlbs;
    for (const tlb of [...this.tlbs.first, ...this.tlbs.second]) {
      tlb.onDrop = (slot) => {
        if (this.currentFlush === 0 || tlb.sizeOf(slot) === SIZE_TABLE) return;
        const page = pageOf(tlb.addressOf(slot), tlb.contextOf(slot), tlb.flagsOf(slot));
        if (tlb.kinds.includes("load") || tlb.kinds.includes("store"))
          this.lastFlush.set(`data ${page}`, this.currentFlush);
        if (tlb.kinds.includes("fetch")) this.lastFlush.set(`code ${page}`, this.currentFlush);
      };
    }
  }

  beforeLookup(): void {}

  hit(kind: number, la: number, pcid: number): void {
    const { tlbs, unflushed } = this;
    this.back(kind, la, pcid, tlbs.currentFlags());
    if (!unflushed.lookup(kind, la, pcid)) {
      unflushed.insert(kind, la, pcid, tlbs.currentFrame(la), tlbs.currentFlags());
    }
  }

  refill(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    const { unflushed } = this;
    const flush = this.back(kind, la, pcid, flags);
    const isHeld = unflushed.lookup(kind, la, pcid);
    const isSameFrame = isHeld && unflushed.currentFrame(la) === frame;
    const isSame = isSameFrame && unflushed.currentFlags() === flags;
    // Where a page of another size answers, this one's entries have gone without flushes too, and what removed them with flushes does not count.
    const isSamePage = isHeld && ((unflushed.currentFlags() ^ flags) & (TR_GLOBAL | (3 << TR_SIZE_SHIFT))) === 0;
    if (isSameFrame && isSamePage && flush !== 0) {
      const { refills, walkCycles } = this.costs.get(flush) ?? { refills: 0, walkCycles: 0 };
      this.costs.set(flush, { refills: refills + 1, walkCycles: walkCycles + cycles });
    } else if (isSame) {
      this.unexplainedWalks++;
    }
    if (isSame) return;
    if (isHeld) unflushed.dropPage(la, pcid, true);
    unflushed.insert(kind, la, pcid, frame, flags);
  }

  /** A page is back in the TLBs: which flush had removed it last; 0 for none. */
  private back(kind: number, la: number, pcid: number, flags: number): number {
    const key = `${kind === 2 ? "code" : "data"} ${pageOf(la, pcid, flags)}`;
    const flush = this.lastFlush.get(key) ?? 0;
    this.lastFlush.delete(key);
    return flush;
  }
}

/** Has a model see the CPU of a guest, which takes the general path from now on. */
export function watchWithModel(preset: Preset, guest: Guest): AttributionModel {
  const model = new AttributionModel(preset, guest);
  guest.cpu.mmu.attribution = model as unknown as FlushAttribution;
  takeGeneralPath(guest);
  return model;
}

function pageOf(la: number, context: number, flags: number): string {
  const size = (flags >> TR_SIZE_SHIFT) & 3;
  const whose = (flags & TR_GLOBAL) !== 0 ? GLOBAL_CONTEXT : context;
  return `${Math.floor(la / SIZE_BYTES[size])} of size ${size} in ${whose}`;
}
