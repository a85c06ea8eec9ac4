/**
 * The mappings of an address space that `mmap` made (`struct vm_area_struct`): all are anonymous and private, so that neighbours are one
 * (`vma_merge`), and who takes a part out of one leaves two (`__split_vma`). Each is an object of its own, whose lock is a line. Rights split none here.
 */

/** Mappings in address order; element i of each array belongs to mapping i. */
export interface VmasState {
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly id: Uint32Array;
}

/** The mappings of one address space. */
export class Vmas {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly ids: number[] = [];
  private last = 0;

  /** The number of the mapping made last; 0 for none yet. */
  get lastId(): number {
    return this.last;
  }

  /** The number of the mapping that holds an address, from 1 on; 0 where none is known. */
  find(la: number): number {
    const i = this.firstEndingBehind(la);
    return i < this.ids.length && this.starts[i] <= la ? this.ids[i] : 0;
  }

  /** The numbers of the mappings that have a part of [start, end). */
  within(start: number, end: number): number[] {
    const found: number[] = [];
    for (let i = this.firstEndingBehind(start); i < this.ids.length && this.starts[i] < end; i++)
      found.push(this.ids[i]);
    return found;
  }

  /** [start, end), and all of the mappings that have a part of it. */
  spanOf(start: number, end: number): readonly [start: number, end: number] {
    let [from, to] = [start, end];
    for (let i = this.firstEndingBehind(start); i < this.ids.length && this.starts[i] < end; i++) {
      from = Math.min(from, this.starts[i]);
      to = Math.max(to, this.ends[i]);
    }
    return [from, to];
  }

  /** Maps [start, end) (`mmap`, with `MAP_FIXED` over what is there). A neighbour grows; of two the one before it stays. */
  insert(start: number, end: number): void {
    this.remove(start, end);
    const { starts, ends, ids } = this;
    const i = this.firstEndingBehind(start);
    const joinsNext = i < ids.length && starts[i] === end;
    if (i > 0 && ends[i - 1] === start) {
      ends[i - 1] = joinsNext ? ends[i] : end;
      if (joinsNext) this.replace(i, 1);
    } else if (joinsNext) starts[i] = start;
    else this.replace(i, 0, [start, end, ++this.last]);
  }

  /** Unmaps [start, end): what is left of a mapping on either side is a new one. */
  remove(start: number, end: number): void {
    const { starts, ends } = this;
    const first = this.firstEndingBehind(start);
    let behind = first;
    while (behind < starts.length && starts[behind] < end) behind++;
    if (behind === first) return;
    const rest: [number, number, number][] = [];
    if (starts[first] < start) rest.push([starts[first], start, ++this.last]);
    if (ends[behind - 1] > end) rest.push([end, ends[behind - 1], ++this.last]);
    this.replace(first, behind - first, ...rest);
  }

  /** Gives a new address space these mappings, as objects of its own (`dup_mmap`). */
  copyTo(other: Vmas): void {
    for (let i = 0; i < this.ids.length; i++) other.insert(this.starts[i], this.ends[i]);
  }

  /** Copies them, for saved states. */
  capture(): VmasState {
    return { start: Float64Array.from(this.starts), end: Float64Array.from(this.ends), id: Uint32Array.from(this.ids) };
  }

  /** Brings mappings back; false when they are not in order, or not made by number `lastId`. */
  restore({ start, end, id }: VmasState, lastId: number): boolean {
    this.replace(0, this.ids.length);
    this.last = lastId;
    if (new Set(id).size !== id.length) return false;
    for (let i = 0; i < id.length; i++) {
      if (start[i] >= end[i] || (i > 0 && end[i - 1] > start[i])) return false;
      if (id[i] === 0 || id[i] > lastId) return false;
      this.replace(i, 0, [start[i], end[i], id[i]]);
    }
    return true;
  }

  private replace(at: number, count: number, ...rows: readonly (readonly [number, number, number])[]): void {
    this.starts.splice(at, count, ...rows.map(([start]) => start));
    this.ends.splice(at, count, ...rows.map(([, end]) => end));
    this.ids.splice(at, count, ...rows.map(([, , id]) => id));
  }

  /** The first mapping that ends behind an address. */
  private firstEndingBehind(la: number): number {
    let [low, high] = [0, this.ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle] > la) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
