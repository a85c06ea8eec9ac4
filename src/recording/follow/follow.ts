/**
 * Following a recording in which CPUs ran at the same time: which event came next is taken from it; everything that this order does
 * not decide is compared: addresses, pools, merges, counts, flushes, page tables, and the final state.
 */

import { VM_ALLOC, VM_MAP_PUT_PAGES } from "../../../mm/vmalloc/areas/vm-structs.ts";
import { InputFileError } from "../../input/errors.ts";
import { compareFinalState } from "../final-state.ts";
import type { RecordedCall } from "../line-schemas.ts";
import { startRecordedKernel } from "../recorded-start.ts";
import type { ConcurrentItem, EndItem, StartItem } from "../recording-parser.ts";
import { readConcurrentRecording } from "../recording-reader.ts";
import type { ReplayOptions, ReplayResult } from "../replay.ts";
import { describeCall } from "../replay-difference.ts";
import { captureState } from "../replay-kernel.ts";
import { followAlloc, followFree, followPoolDel, followPoolRot } from "./follow-areas.ts";
import {
  followAliases,
  followFreeBlock,
  followNewBlock,
  followPurgeFrag,
  followVbAlloc,
  followVbFree,
} from "./follow-blocks.ts";
import { followFlush, followMapping, followPtAlloc, followVunmap } from "./follow-mappings.ts";
import { addressOf, Findings, type FollowedEvent, followedEvent, numberOf } from "./followed-event.ts";
import {
  followDecay,
  followDecayVa,
  followMerge,
  followPoolAdd,
  followPurge,
  followPurgeBegin,
  followPurgeNode,
} from "./followed-purge.ts";
import { Following, hex } from "./following.ts";
import { lazyNrAt } from "./lazy-count.ts";

type Handler = (following: Following, event: FollowedEvent) => void;

const HANDLERS: Readonly<Record<string, Handler>> = {
  alloc: followAlloc,
  free: followFree,
  pool_del: followPoolDel,
  pool_rot: followPoolRot,
  pool_add: followPoolAdd,
  purge_begin: followPurgeBegin,
  purge: followPurge,
  purge_node: followPurgeNode,
  decay: followDecay,
  decay_va: followDecayVa,
  merge: followMerge,
  flush_range: followFlush,
  new_block: followNewBlock,
  vb_alloc: followVbAlloc,
  vb_free: followVbFree,
  free_block: followFreeBlock,
  purge_frag: followPurgeFrag,
  aliases: followAliases,
  map_pages: followMapping,
  map_range: followMapping,
  vunmap: followVunmap,
  pt_alloc: followPtAlloc,
  drain: followDrain,
  drain_sched: followDrainSched,
};

/**
 * Follows a recording, gzip or plain.
 * @throws InputFileError when the file cannot be read or is not a recording
 */
export async function followRecording(file: string, options: ReplayOptions = {}): Promise<ReplayResult> {
  const items: ConcurrentItem[] = [];
  for await (const item of readConcurrentRecording(file)) items.push(item);
  const start = items[0] as StartItem;
  const end = items.at(-1) as EndItem;
  const steps = items.slice(1, -1);
  const events = new Map(steps.map((item) => [item, eventsOf(item)]));
  const kernel = startRecordedKernel(file, start);
  const findings = new Findings(options.differencesMax ?? 1);
  const all = [...events.values()].flat();
  const beyond = all.find(({ cpu }) => cpu >= start.header.smp);
  if (beyond !== undefined) {
    throw new InputFileError(file, beyond.line, `an event of CPU ${beyond.cpu}: the machine has ${start.header.smp}`);
  }
  const following = new Following(kernel, start.header, end.state, purgesIn(all), findings);
  let calls = 0;
  for (const item of steps) {
    beginCall(following, item.kind === "call" ? item.call : null);
    for (const event of events.get(item) ?? []) follow(following, event);
    if (item.kind !== "call") continue;
    endCall(following, item.line, item.call);
    if (++calls % 1024 === 0) options.onProgress?.(calls);
  }
  compareEnd(following, end);
  return {
    recording: start.header.name,
    calls,
    events: all.length,
    addressMismatches: findings.addressMismatches,
    eventMismatches: findings.eventMismatches,
    finalStateMismatches: findings.finalStateMismatches,
    eventMismatchesByName: findings.byEventName,
    finalStateMismatchesByPart: findings.byStatePart,
    differences: findings.differences,
  };
}

function eventsOf(item: ConcurrentItem): FollowedEvent[] {
  if (!("events" in item)) return [];
  return item.events.map((event, i) => followedEvent(event, item.line + 1 + i));
}

/**
 * What each purge took: an area that is freed while a purge takes the lists may be among them or not, which only shows in what the
 * purge gives back. By the event with which each begins.
 */
function purgesIn(events: readonly FollowedEvent[]): Map<FollowedEvent, [start: number, end: number][]> {
  const purges = new Map<FollowedEvent, [number, number][]>();
  let taken: [number, number][] | null = null;
  let begun: FollowedEvent | null = null;
  for (const event of events) {
    const { ev } = event.event;
    if (ev === "purge_begin") {
      begun = event;
      purges.set(event, []);
    } else if (ev === "flush_range" && begun !== null && taken === null && event.cpu === begun.cpu) {
      taken = purges.get(begun) ?? [];
    } else if (ev === "purge") {
      begun = null;
      taken = null;
    } else if (taken !== null && (ev === "pool_add" || ev === "merge")) {
      taken.push([addressOf(event, "start"), addressOf(event, "end")]);
    }
  }
  return purges;
}

function beginCall(following: Following, call: RecordedCall | null): void {
  following.call = call;
  following.callAreas = [];
  following.callFreed = [];
}

/** What the call returned, or freed, must be what its events say. */
function endCall({ findings, callAreas, callFreed, state }: Following, line: number, call: RecordedCall): void {
  if (call.call === "vmalloc" || call.call === "vzalloc") {
    const address = callAreas.length === 0 ? 0 : state.areas.startOf(callAreas[0]);
    if (address !== call.ret) findings.address(line, describeCall(call), hex(call.ret), hex(address));
  } else if (call.call === "vfree" && !callFreed.includes(call.addr)) {
    findings.address(line, describeCall(call), `frees ${hex(call.addr)}`, `frees ${callFreed.map(hex).join(", ")}`);
  }
}

function follow(following: Following, event: FollowedEvent): void {
  const { ev } = event.event;
  const { due } = following.cpus[event.cpu];
  const next = due[0];
  if (next !== undefined && next.ev === ev) {
    due.shift();
    following.findings.compare(event, next.fields);
    if (ev !== "free" && ev !== "free_block" && ev !== "drain_sched") return;
  } else if (next !== undefined && ev !== "pt_alloc") {
    following.findings.mismatch(event, `{"ev":"${next.ev}"} must come first`);
    due.length = 0;
  }
  const handler = HANDLERS[ev];
  if (handler === undefined) following.findings.mismatch(event, "nothing");
  else handler(following, event);
}

/** The drain work begins: it was queued. */
function followDrain(following: Following, event: FollowedEvent): void {
  const { findings } = following;
  if (following.drainsQueued === 0) findings.mismatch(event, "nothing is queued");
  following.drainsQueued = Math.max(0, following.drainsQueued - 1);
  following.cpus[event.cpu].drains++;
  findings.compare(event, { lazy_nr: lazyNrAt(following, event) });
}

/** Too much is lazily freed: the drain work is queued, or it is pending. */
function followDrainSched(following: Following, event: FollowedEvent): void {
  if (numberOf(event, "queued") === 1) following.drainsQueued++;
  else if (following.drainsQueued === 0) following.findings.mismatch(event, "nothing is pending: it is queued");
}

function compareEnd(following: Following, end: EndItem): void {
  const { kernel, findings, state } = following;
  const { areas, vms } = state;
  state.nrVmallocPages = 0;
  for (const node of state.nodes) {
    const { head } = node.busy.tree;
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      const vm = areas.vmOf(area);
      const isCounted = vm !== 0 && (vms.flags[2 * vm] & (VM_ALLOC | VM_MAP_PUT_PAGES)) === VM_ALLOC;
      if (isCounted) state.nrVmallocPages += vms.nrPages[2 * vm];
    }
  }
  for (const each of compareFinalState(end.state, captureState(kernel), kernel.mm.version)) {
    findings.finalState(end.line, each.part, each.index, each.expected, each.actual);
  }
}
