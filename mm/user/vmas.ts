/**
 * The mappings of an address space that `mmap` made (`struct vm_area_struct`): all are private, so that neighbours are one
 * (`vma_merge`) where what they map follows on in what is mapped (`vm_pgoff`), and who takes a part out of one leaves two (`__split_vma`). Each is an
 * object of its own, whose lock is a line. Rights split none here.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";

/** Mappings in address order; element i of each array belongs to mapping i. */
export interface VmasState {
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly id: Uint32Array;
  /** Absent in states saved before there was `vm_pgoff`: no mapping has been moved then. */
  readonly pgoff?: Float64Array | undefined;
  /** 1: it keeps its pages' numbers when it is moved; absent in states saved before that was known: all do then. */
  readonly keepsPgoff?: Uint8Array | undefined;
}

type Vma = readonly [start: number, end: number, id: number, pgoff: number, keepsPgoff: boolean];

/** The mappings of one address space. */
export class Vmas {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly ids: number[] = [];
  private readonly pgoffs: number[] = [];
  private readonly keeps: boolean[] = [];
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

  /** Which page of what its mapping maps an address is (`linear_page_index`); that of an anonymous mapping made there where none is known. */
  pgoffOf(la: number): number {
    const i = this.firstEndingBehind(la);
    return i < this.ids.length && this.starts[i] <= la ? this.pgoffAt(i, la) : la / PAGE_SIZE;
  }

  /**
   * Whether the mapping that holds an address keeps its pages' numbers when it is moved (`copy_vma`): it maps a file, or has had a page of its own since
   * it was made (`vma->anon_vma`), by whose number the page is found, whether that is still there or not. An anonymous one that was at most read is numbered anew.
   */
  keepsPgoff(la: number): boolean {
    const i = this.firstEndingBehind(la);
    return i < this.ids.length && this.starts[i] <= la && this.keeps[i];
  }

  /** Whether an address is in an anonymous mapping that has had no page of its own yet (`vma_is_anonymous(vma) && !vma->anon_vma`). */
  lacksAnonVma(la: number): boolean {
    const i = this.firstEndingBehind(la);
    return i < this.ids.length && this.starts[i] <= la && !this.keeps[i];
  }

  /** The mapping that holds an address, if one does, gets a page of its own there (`anon_vma_prepare`). */
  prepareAnonVma(la: number): void {
    const i = this.firstEndingBehind(la);
    if (i < this.ids.length && this.starts[i] <= la) this.keeps[i] = true;
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

  /**
   * Maps [start, end) (`mmap`, with `MAP_FIXED` over what is there). A neighbour grows whose pages follow on (`can_vma_merge_after`, `_before`); of two the
   * one before it stays.
   * @param pgoff the first page's number in what is mapped (`vm_pgoff`): of new anonymous memory that of its address
   * @param keepsPgoff as `keepsPgoff` says of it; a file's mapping does
   */
  insert(start: number, end: number, pgoff = start / PAGE_SIZE, keepsPgoff = pgoff !== start / PAGE_SIZE): void {
    this.remove(start, end);
    const { starts, ends, ids, pgoffs, keeps } = this;
    const i = this.firstEndingBehind(start);
    const joinsNext = i < ids.length && starts[i] === end && pgoffs[i] === pgoff + (end - start) / PAGE_SIZE;
    if (i > 0 && ends[i - 1] === start && this.pgoffAt(i - 1, start) === pgoff) {
      ends[i - 1] = joinsNext ? ends[i] : end;
      keeps[i - 1] ||= keepsPgoff || (joinsNext && keeps[i]);
      if (joinsNext) this.replace(i, 1);
    } else if (joinsNext) [starts[i], pgoffs[i], keeps[i]] = [start, pgoff, keeps[i] || keepsPgoff];
    else this.replace(i, 0, [start, end, ++this.last, pgoff, keepsPgoff]);
  }

  /** Unmaps [start, end): what is left of a mapping on either side is a new one. */
  remove(start: number, end: number): void {
    const { starts, ends } = this;
    const first = this.firstEndingBehind(start);
    let behind = first;
    while (behind < starts.length && starts[behind] < end) behind++;
    if (behind === first) return;
    const rest: Vma[] = [];
    const { keeps } = this;
    const last = behind - 1;
    if (starts[first] < start) rest.push([starts[first], start, ++this.last, this.pgoffs[first], keeps[first]]);
    if (ends[last] > end) rest.push([end, ends[last], ++this.last, this.pgoffAt(last, end), keeps[last]]);
    this.replace(first, behind - first, ...rest);
  }

  /** Gives a new address space these mappings, as objects of its own (`dup_mmap`). */
  copyTo(other: Vmas): void {
    for (let i = 0; i < this.ids.length; i++) {
      other.insert(this.starts[i], this.ends[i], this.pgoffs[i], this.keeps[i]);
    }
  }

  /** Copies them, for saved states. */
  capture(): VmasState {
    const [start, end] = [Float64Array.from(this.starts), Float64Array.from(this.ends)];
    const keepsPgoff = Uint8Array.from(this.keeps, Number);
    return { start, end, id: Uint32Array.from(this.ids), pgoff: Float64Array.from(this.pgoffs), keepsPgoff };
  }

  /** Brings mappings back; false when they are not in order, or not made by number `lastId`. */
  restore({ start, end, id, pgoff, keepsPgoff }: VmasState, lastId: number): boolean {
    this.replace(0, this.ids.length);
    this.last = lastId;
    if (new Set(id).size !== id.length) return false;
    for (let i = 0; i < id.length; i++) {
      if (start[i] >= end[i] || (i > 0 && end[i - 1] > start[i])) return false;
      if (id[i] === 0 || id[i] > lastId) return false;
      this.replace(i, 0, [start[i], end[i], id[i], pgoff?.[i] ?? start[i] / PAGE_SIZE, keepsPgoff?.[i] !== 0]);
    }
    return true;
  }

  private pgoffAt(i: number, la: number): number {
    return this.pgoffs[i] + (la - this.starts[i]) / PAGE_SIZE;
  }

  private replace(at: number, count: number, ...rows: readonly Vma[]): void {
    this.starts.splice(at, count, ...rows.map(([start]) => start));
    this.ends.splice(at, count, ...rows.map(([, end]) => end));
    this.ids.splice(at, count, ...rows.map(([, , id]) => id));
    this.pgoffs.splice(at, count, ...rows.map(([, , , pgoff]) => pgoff));
    this.keeps.splice(at, count, ...rows.map(([, , , , keepsPgoff]) => keepsPgoff));
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
