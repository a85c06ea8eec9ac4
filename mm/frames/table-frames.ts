/**
 * Frames for page tables, from blocks of such frames: they stay together, as in pageblocks of unmovable memory, and the host commits few
 * chunks of memory for them.
 */
import { type FrameList, fillForTables } from "./frame-list.ts";
import { MAX_PAGE_ORDER, type Zone } from "./zone.ts";

/** The frames of each zone that are kept for page tables. */
export class TableFrames {
  readonly lists: readonly FrameList[];
  private readonly zones: readonly Zone[];
  private readonly onBlock: (zone: number) => void;

  /** @param onBlock is told of each block that is taken from a zone, or given back to it, by the zone's number */
  constructor(zones: readonly Zone[], onBlock: (zone: number) => void) {
    this.zones = zones;
    this.onBlock = onBlock;
    this.lists = zones.map(() => ({ frames: new Uint32Array(2 << MAX_PAGE_ORDER), count: 0 }));
  }

  /** A frame of a NUMA node; 0 when no block of it is left: then any frame will do. */
  take(node: number): number {
    const { zones, lists } = this;
    for (let i = zones.length - 1; i >= 0; i--) {
      if (zones[i].node !== node) continue;
      const list = lists[i];
      if (list.count === 0) {
        if (!fillForTables(list, zones[i])) continue;
        this.onBlock(i);
      }
      return list.frames[--list.count];
    }
    return 0;
  }

  /** Gives a frame of a zone back. */
  put(zoneIndex: number, frame: number): void {
    const list = this.lists[zoneIndex];
    if (list.count < list.frames.length) {
      list.frames[list.count++] = frame;
      return;
    }
    this.zones[zoneIndex].__freeOnePage(frame, 0);
    this.onBlock(zoneIndex);
  }
}
