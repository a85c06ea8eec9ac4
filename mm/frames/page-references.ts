/** Who holds a frame beside its first holder. */

const NONE = new Uint32Array(0);

/**
 * Further references to frames (`get_page`, `put_page`). Nearly every frame has one holder and is not noted here; a page that
 * `remap_vmalloc_range` has put into a user address space is held by the area and by each mapping, a user's page by each address space and by the
 * batch in which it waits for the LRU lists. It goes back to the allocator when the last of them lets go.
 */
export class PageReferences {
  /** By frame: holders beyond the first. */
  private readonly further = new Map<number, number>();

  /** Whether no frame has more than one holder. */
  get isEmpty(): boolean {
    return this.further.size === 0;
  }

  /** Holders of a frame beyond the first. */
  furtherOf(frame: number): number {
    return this.further.get(frame) ?? 0;
  }

  /** Those of `count` frames from `offset` on that have several holders. */
  sharedOf(frames: Uint32Array, offset: number, count: number): Uint32Array {
    return this.isEmpty ? NONE : frames.subarray(offset, offset + count).filter((frame) => this.further.has(frame));
  }

  /** Visits the frames that have several holders, for checks. */
  forEach(visit: (frame: number, further: number) => void): void {
    this.further.forEach((further, frame) => {
      visit(frame, further);
    });
  }

  /** Makes the further references of frames just these, for saved states. */
  restore(frames: Uint32Array, further: Uint32Array): void {
    this.further.clear();
    frames.forEach((frame, i) => {
      this.further.set(frame, further[i]);
    });
  }

  /** Lets one holder of each of `count` frames from `offset` on go; those that nobody holds any more. */
  putAll(frames: Uint32Array, offset: number, count: number): Uint32Array {
    const all = frames.subarray(offset, offset + count);
    return this.isEmpty ? all : all.filter((frame) => !this.put(frame));
  }

  /** Notes one more holder (`get_page`). */
  get(frame: number): void {
    this.further.set(frame, this.furtherOf(frame) + 1);
  }

  /** Lets one holder go (`put_page`); whether others remain. */
  put(frame: number): boolean {
    const further = this.furtherOf(frame);
    if (further === 0) return false;
    if (further === 1) this.further.delete(frame);
    else this.further.set(frame, further - 1);
    return true;
  }
}
