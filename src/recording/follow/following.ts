/** The kernel that follows a recording, and what is remembered from one event to the next. */
import { formatLinearAddress } from "../../../arch/isa/linear-address.ts";
import { type BusyAreaRecord, parseVmallocinfoLine, type Vmalloc } from "../../../mm/index.ts";
import { EventRecorder } from "../../events/event-recorder.ts";
import type { Kernel } from "../../machine/kernel.ts";
import type { RecordedCall, RecordingHeader } from "../line-schemas.ts";
import type { RecordedState } from "../recorded-state.ts";
import { callingThread } from "../replay-kernel.ts";
import type { Findings, FollowedEvent } from "./followed-event.ts";
import type { DirtyRange, PurgeUnderWay } from "./purge-under-way.ts";

/** An event that must come on a CPU, as what it is doing goes on. */
export interface DueEvent {
  readonly ev: string;
  readonly fields: Readonly<Record<string, string | number>>;
  /** The range that is being mapped: another CPU that maps there may make a missing table first. */
  readonly start: number;
  readonly end: number;
}

/** A free that a CPU has not told of yet. */
export interface PendingFree {
  readonly area: number;
  readonly pages: number;
  /** Whether the lazy count has its pages. */
  isAdded: boolean;
  /** Values of the lazy count since it began. */
  readonly counts: number[];
  /** What the area was, if a purge has taken it before the free was told. */
  early: { readonly start: number; readonly end: number; readonly flags: number; readonly node: number } | null;
}

/** What is known of the CPUs' doings. */
export interface CpuState {
  /** What must come next. */
  due: DueEvent[];
  /** The range that it is mapping or mapped last. */
  mapping: readonly [start: number, end: number];
  /** The range that it unmapped last. */
  unmapped: readonly [start: number, end: number];
  /** The dirty range that `vm_unmap_aliases` has found, until its purge begins. */
  aliases: DirtyRange | null;
  /** The block that is being freed. */
  freedBlock: number;
  /** What it has unmapped and not told of freeing: pages, whether the lazy count has them already, and its values since then. */
  freeing: PendingFree | null;
  /** Drain work that has begun and not purged yet. */
  drains: number;
  /** Searches that found no room and have not purged yet, and those that have purged and search again: size and window. */
  failed: string[];
  again: string[];
}

/** All that following needs. */
export class Following {
  readonly kernel: Kernel;
  readonly state: Vmalloc;
  readonly findings: Findings;
  readonly header: RecordingHeader;
  /** Areas in use at the end, by address: callers, flags and sizes of areas that no recorded call made are told by nothing else. */
  readonly busyAtEnd: ReadonlyMap<number, BusyAreaRecord>;
  readonly callerAtEnd: ReadonlyMap<number, string>;
  readonly cpus: CpuState[];
  /** What purges took, by the event with which each began. */
  readonly purgesAt: ReadonlyMap<FollowedEvent, readonly (readonly [start: number, end: number])[]>;
  /** What changes of the emulated page tables cause. */
  readonly recorder: EventRecorder;
  purge: PurgeUnderWay | null = null;
  /** Areas that were taken from a pool and whose allocation has not been told yet, by address. */
  readonly inHand = new Map<number, number>();
  /** The recorded call under way, and the areas that it has got: its own, then the one for its page pointers. */
  call: RecordedCall | null = null;
  callAreas: number[] = [];
  callFreed: number[] = [];
  /** Drain work queued and not begun. */
  drainsQueued = 0;

  constructor(
    kernel: Kernel,
    header: RecordingHeader,
    final: RecordedState,
    purgesAt: Following["purgesAt"],
    findings: Findings,
  ) {
    this.kernel = kernel;
    this.state = kernel.vm;
    const caller = callingThread(kernel);
    this.recorder = new EventRecorder(kernel.machine.loop, () => caller);
    this.header = header;
    this.busyAtEnd = new Map(final.snapshot.busy.map((record) => [record.start, record]));
    this.callerAtEnd = new Map(final.vmallocinfo.map(parseVmallocinfoLine).map(({ start, caller }) => [start, caller]));
    this.purgesAt = purgesAt;
    this.findings = findings;
    this.cpus = Array.from({ length: header.smp }, () => ({
      due: [],
      mapping: [0, 0] as const,
      unmapped: [0, 0] as const,
      aliases: null,
      freedBlock: 0,
      freeing: null,
      drains: 0,
      failed: [],
      again: [],
    }));
  }
}

/** An address as events have it. */
export function hex(address: number): string {
  return formatLinearAddress(address);
}

/** Whether any page of a range is mapped. */
export function isMapped({ state }: Following, start: number, end: number): boolean {
  const { cursor } = state.tables;
  for (let la = start; la < end; la = cursor.end) {
    cursor.seek(la);
    if (cursor.isLeaf) return true;
  }
  return false;
}
