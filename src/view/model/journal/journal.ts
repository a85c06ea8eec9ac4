/**
 * What each of the last steps of a machine has changed, so that one can go back and forth among them at once.
 *
 * Kernel threads are generators, which cannot be copied: a machine cannot go on from an earlier state. But its data can be shown as
 * they were. So going back writes what the words and values were before; before the machine acts again, all is made as it was at the
 * last step. The journal holds what the views read: vmalloc, page tables, TLBs and registers of the CPUs, user address spaces, clocks,
 * the log, costs of flushes. Content of pages, the page allocator, data caches, how refills and frees are told apart, and what is under way on
 * the event loop are not in it. Who reads a machine that stands before its last step must change nothing of what is in it.
 *
 * It does not know what it compares: it follows every reference, as the image of the schedule explorer does
 * (`src/explore/base/kernel-image.ts`). Tests compare with machines that were run to each step.
 */
import { CHUNK_FRAMES, FRAME_WORDS } from "../../../../arch/memory/physical-memory.ts";
import { FRAME_PAGE_TABLE } from "../../../../mm/index.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import { groupsOf, SHARED } from "./groups.ts";
import { forEachValue, type ValueChange, ValueImages } from "./value-images.ts";
import { WordImages } from "./word-images.ts";

const KEPT_BYTES_MAX = 2 ** 26;
/** About what a change of a value takes in the host's memory. */
const VALUE_CHANGE_BYTES = 200;

const WORD_BYTES = 4;
const ONLY_SHARED = [SHARED];

/** A list of what has happened that is cut and continued as one goes back and forth. */
export interface Happenings<Tail> {
  /** What was added since it was called last, or since the begin. */
  takeTail(): Tail;
  /** Takes away what was added last. */
  removeTail(tail: Tail): void;
  /** Adds what was taken away. */
  addTail(tail: Tail): void;
}

/** What one step has changed. */
interface StepRecord<Note, Tail> {
  readonly words: Int32Array;
  readonly values: readonly ValueChange[];
  readonly tail: Tail;
  readonly note: Note;
}

/** The last steps of one machine; `Note` is what whoever keeps it wants to know of each. */
export class Journal<Note, Tail> {
  private readonly kernel: Kernel;
  private readonly tracks: Happenings<Tail>;
  private readonly words = new WordImages();
  private readonly values = new ValueImages();
  private readonly records: StepRecord<Note, Tail>[] = [];
  private readonly seen = new Set<object>();
  private readonly buffers = new Set<ArrayBufferLike>();
  private readonly tables = new Set<number>();
  private readonly met = (value: unknown): void => this.collect(value);
  /** The CPUs' clocks at the last step: those that act go on. */
  private readonly clocks: Float64Array;
  /** All groups, where a CPU writes into another's TLBs without a turn of that one. */
  private readonly allGroups: readonly number[] | null;
  private bytes = 0;
  /** How many of the records are undone. */
  private undone = 0;
  /** The note of the step before the first that is in it. */
  private noteBefore: Note;

  private readonly keptBytesMax: number;

  /**
   * Begins with the machine as it is now.
   * @param note of the step that was the last
   * @param keptBytesMax bytes of changes that are kept at the most; the oldest go first
   */
  constructor(kernel: Kernel, tracks: Happenings<Tail>, note: Note, keptBytesMax = KEPT_BYTES_MAX) {
    this.keptBytesMax = keptBytesMax;
    this.kernel = kernel;
    this.tracks = tracks;
    this.noteBefore = note;
    settle(kernel);
    const { machine, mm, vm, tables, log } = kernel;
    const { loop, memory, cpus } = machine;
    const apart: object[] = [kernel, machine, kernel.pages, loop, loop.lines, memory, tracks, mm.costs, machine.preset];
    for (const each of [...apart, ...cpus.map(({ mmu }) => mmu.walkCaches)]) this.seen.add(each);
    const { accounts } = vm.flushing;
    if (accounts !== null) {
      this.seen.add(accounts.frees);
      for (const attribution of accounts.attributions) {
        this.seen.add(attribution);
        this.buffers.add(attribution.arrays.words.buffer);
      }
    }
    for (const chunk of [memory.zeroChunk, ...memory.directory]) this.buffers.add(chunk.buffer);
    for (const cpu of cpus) this.seen.add(cpu);
    for (const root of [vm, mm, tables, log, loop.clockCycles, loop.accounts, cpus]) this.collect(root);
    for (const [found, group] of groupsOf(cpus, this.seen)) this.keepFound(found, group);
    this.clocks = loop.clockCycles.slice();
    this.allGroups = writesFromAfar(kernel) ? [SHARED, ...cpus.map((_, cpu) => cpu + 1)] : null;
    for (const { costs } of accounts?.attributions ?? []) this.collect(costs);
    this.keepNewTables();
    // What has happened before stays.
    tracks.takeTail();
  }

  /** Steps that can be taken back from where one is. */
  get behind(): number {
    return this.records.length - this.undone;
  }

  /** Steps that were taken back. */
  get ahead(): number {
    return this.undone;
  }

  /** Bytes that the changes take which are kept. */
  get keptBytes(): number {
    return this.bytes;
  }

  /** The note of the step that one is at. */
  get note(): Note {
    return this.behind === 0 ? this.noteBefore : this.records[this.behind - 1].note;
  }

  /** After a step of the machine: adds what it has changed. Nothing may be taken back then. */
  add(note: Note): void {
    settle(this.kernel);
    const groups = this.allGroups ?? this.groupsThatActed();
    const values = this.values.takeChanges(groups, this.met);
    const words = this.words.takeChanges(groups);
    this.keepNewTables();
    const record = { words, values, tail: this.tracks.takeTail(), note };
    this.records.push(record);
    this.bytes += bytesOf(record);
    while (this.bytes > this.keptBytesMax) this.forgetOldest();
  }

  /** Takes back what was changed since the last step, by code that was ended in the middle of one. What is a CPU's own stays. */
  forgetUnfinished(): void {
    const values = this.values.takeChanges(ONLY_SHARED, this.met);
    const words = this.words.takeChanges(ONLY_SHARED);
    this.words.undo(words);
    for (const value of values) value.undo();
  }

  /** Takes a step back. */
  back(): void {
    const { words, values, tail } = this.records[this.records.length - ++this.undone];
    this.words.undo(words);
    for (const value of values) value.undo();
    this.tracks.removeTail(tail);
  }

  /** Makes a step again that was taken back. */
  again(): void {
    const { words, values, tail } = this.records[this.records.length - this.undone--];
    this.words.redo(words);
    for (const value of values) value.redo();
    this.tracks.addTail(tail);
  }

  /** What all CPUs share, and what is of those whose clocks have gone on since the last step. */
  private groupsThatActed(): number[] {
    const { clocks } = this;
    const { clockCycles } = this.kernel.machine.loop;
    const groups = [SHARED];
    for (let cpu = 0; cpu < clocks.length; cpu++) {
      if (clockCycles[cpu] === clocks[cpu]) continue;
      clocks[cpu] = clockCycles[cpu];
      groups.push(cpu + 1);
    }
    return groups;
  }

  private forgetOldest(): void {
    const oldest = this.records.shift();
    if (oldest === undefined) return;
    this.bytes -= bytesOf(oldest);
    this.noteBefore = oldest.note;
  }

  private collect(root: unknown): void {
    const todo = [root];
    const later = (value: unknown): void => {
      if (typeof value === "object" && value !== null) todo.push(value);
    };
    while (todo.length > 0) {
      const found = todo.pop();
      if (typeof found !== "object" || found === null || this.seen.has(found)) continue;
      this.seen.add(found);
      this.keepFound(found, SHARED);
      if (!ArrayBuffer.isView(found)) forEachValue(found, later);
    }
  }

  private keepFound(found: object, group: number): void {
    if (ArrayBuffer.isView(found)) this.keepBuffer(found.buffer, group);
    else this.values.keep(found, group);
  }

  private keepBuffer(buffer: ArrayBufferLike, group: number): void {
    if (this.buffers.has(buffer)) return;
    this.buffers.add(buffer);
    // A part of the machine's memory that was made since the begin, in some CPU's list.
    if (this.kernel.machine.memory.directory.some((chunk) => chunk.buffer === buffer)) return;
    const words = Math.floor(buffer.byteLength / WORD_BYTES);
    this.words.keep(new Int32Array(buffer, 0, words), group);
    const rest = new Uint8Array(buffer, words * WORD_BYTES);
    if (rest.length > 0) this.values.keepBytes(rest, group);
  }

  /** Frames that have become page tables. Those that no longer are stay: they were tables at earlier steps. */
  private keepNewTables(): void {
    const { memory } = this.kernel.machine;
    for (const { startFrame, touchedEnd, use } of this.kernel.pages.zones) {
      for (let i = use.indexOf(FRAME_PAGE_TABLE); i >= 0; i = use.indexOf(FRAME_PAGE_TABLE, i + 1)) {
        const frame = startFrame + i;
        if (frame >= touchedEnd || this.tables.has(frame)) continue;
        this.tables.add(frame);
        const first = (frame % CHUNK_FRAMES) * FRAME_WORDS;
        this.words.keep(memory.chunkForWrite(frame).subarray(first, first + FRAME_WORDS), SHARED);
      }
    }
  }
}

/**
 * Areas are put in order (`BusyAreas.tree`, `LazyAreas.tree`) and cycles booked (`CycleAccounts.settle`) when somebody looks at them. Here
 * that is done with each step: otherwise looking at a machine that is shown at an earlier step would change it.
 */
function settle({ vm, machine: { loop } }: Kernel): void {
  for (const { busy, lazy } of vm.nodes) {
    busy.tree;
    lazy.tree;
  }
  for (let cpu = 0; cpu < loop.cpus; cpu++) loop.accounts.settle(cpu);
}

/** Whether CPUs change others' TLBs by themselves: INVLPGB and remote actions do, and a hypervisor what is its vCPUs'. */
function writesFromAfar({ host, machine }: Kernel): boolean {
  return host !== null || machine.features.invlpgb || machine.features.rar;
}

function bytesOf({ words, values }: StepRecord<unknown, unknown>): number {
  return words.byteLength + values.length * VALUE_CHANGE_BYTES;
}
