/** A purge, event by event: pools decay, lists are taken, one flush, then areas go to pools and to the free tree. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { ADDRESS_MAX } from "../../../mm/index.ts";
import { AreaTree } from "../../../mm/vmalloc/areas/area-tree.ts";
import { decodeVnId, MAX_VA_SIZE_PAGES, sizeToVaPool, type VmapNode } from "../../../mm/vmalloc/areas/vmap-node.ts";
import { lazyNodeOf, moveToLazy } from "./follow-areas.ts";
import { addressOf, type FollowedEvent, numberOf } from "./followed-event.ts";
import { type Following, hex } from "./following.ts";
import { changeLazyNr, lazyNrAt } from "./lazy-count.ts";
import type { NodeWork, PurgeUnderWay } from "./purge-under-way.ts";

/** A purge that begins with `event`: takes it off what its CPU has to do. */
function beginPurge(following: Following, event: FollowedEvent): PurgeUnderWay {
  const { state } = following;
  const cpu = following.cpus[event.cpu];
  const reason = reasonOf(following, event);
  const aliases = reason === "aliases" ? cpu.aliases : null;
  if (reason === "aliases") cpu.aliases = null;
  else if (reason === "drain") cpu.drains--;
  else if (reason === "overflow") cpu.again.push(cpu.failed.shift() ?? "");
  return {
    cpu: event.cpu,
    reason,
    aliases,
    full: state.version.hasVmapNodes && reason === "overflow",
    taken: following.purgesAt.get(event) ?? [],
    certain: new Set(state.nodes.flatMap((node) => lazyAreas(following, node))),
    start: aliases?.start ?? ADDRESS_MAX,
    end: aliases?.end ?? 0,
    uncertainPages: new Set(),
    work: [],
    purged: 0,
    nodes: 0,
    at: -1,
    decayVas: [],
    decayed: null,
  };
}

/**
 * Why a purge begins: several tasks of a CPU may wait for the lock of purges, and which gets it is the recorded order. There must
 * be one that the event can be of.
 */
function reasonOf({ cpus, state }: Following, event: FollowedEvent): PurgeUnderWay["reason"] {
  const { drains, failed, aliases } = cpus[event.cpu];
  const isFull = numberOf(event, "full_decay") === 1;
  const hasRange =
    aliases !== null && addressOf(event, "start") === aliases.start && addressOf(event, "end") === aliases.end;
  if (hasRange && !isFull) return "aliases";
  if (failed.length > 0 && (isFull || !state.version.hasVmapNodes)) return "overflow";
  return drains > 0 ? "drain" : "none";
}

/** The areas on a node's lazy list, lowest first. */
function lazyAreas({ state }: Following, node: VmapNode): number[] {
  const { head } = node.lazy.tree;
  const found: number[] = [];
  for (let area = state.areas.nextOf(head); area !== head; area = state.areas.nextOf(area)) found.push(area);
  return found;
}

/** A purge begins. */
export function followPurgeBegin(following: Following, event: FollowedEvent): void {
  const { findings } = following;
  if (following.purge !== null) findings.mismatch(event, "another purge is under way");
  const purge = beginPurge(following, event);
  following.purge = purge;
  if (purge.reason === "none") findings.mismatch(event, "nothing on this CPU purges");
  findings.compare(event, {
    start: hex(purge.start),
    end: hex(purge.end),
    full_decay: Number(purge.full),
    lazy_nr: lazyNrAt(following, event),
  });
}

/** A pool gives up some areas: the next one that holds any. */
export function followDecay(following: Following, event: FollowedEvent): void {
  const { state, findings, purge } = following;
  if (purge === null) {
    findings.mismatch(event, "no purge is under way");
    return;
  }
  const [id, index] = [numberOf(event, "node"), numberOf(event, "index")];
  const at = id * MAX_VA_SIZE_PAGES + index;
  const node = state.nodes[id];
  const skipped = firstPool(following, purge.at + 1);
  if (skipped !== at || purge.decayVas.length > 0) findings.mismatch(event, `the pool numbered ${skipped} is next`);
  purge.at = at;
  const { areas: count, shownLength, shownDecay } = state.version.decayOf(node.poolLength(index), purge.full);
  findings.compare(event, { len: shownLength, full: Number(purge.full), n_decay: shownDecay });
  const { areas } = state;
  for (let left = count; left > 0 && !areas.listIsEmpty(node.poolHead(index)); left--) {
    const area = areas.nextOf(node.poolHead(index));
    areas.listRemove(area);
    node.addToPoolLength(index, -1);
    purge.decayVas.push(area);
  }
  purge.decayed ??= new AreaTree(areas, state.log);
}

/** The first pool from number `from` on that holds areas. */
function firstPool({ state }: Following, from: number): number {
  for (let at = from; at < state.nodes.length * MAX_VA_SIZE_PAGES; at++) {
    const node = state.nodes[Math.floor(at / MAX_VA_SIZE_PAGES)];
    if (!state.areas.listIsEmpty(node.poolHead(at % MAX_VA_SIZE_PAGES))) return at;
  }
  return -1;
}

/** An area of a decaying pool is given up. */
export function followDecayVa(following: Following, event: FollowedEvent): void {
  const { state, findings, purge } = following;
  const area = purge?.decayVas.shift();
  if (purge === null || area === undefined) {
    findings.mismatch(event, "the pool has given up enough");
    return;
  }
  findings.compare(event, { start: hex(state.areas.startOf(area)), end: hex(state.areas.endOf(area)) });
  purge.decayed?.mergeOrAddVmapArea(area);
}

/** Something is given back to the free tree: a decayed range, or an area of a purge list. */
export function followMerge(following: Following, event: FollowedEvent): void {
  const { state, findings, purge } = following;
  const { areas } = state;
  const start = addressOf(event, "start");
  const decayed = purge?.decayed ?? null;
  let area = 0;
  if (decayed !== null && !areas.listIsEmpty(decayed.head)) {
    area = areas.nextOf(decayed.head);
    decayed.unlinkVa(area);
  } else {
    const work = purge?.work.find(({ forTree }) => areas.startOf(forTree[0] ?? 0) === start && forTree.length > 0);
    if (purge === null || work === undefined || work.forPools.length > 0) {
      findings.mismatch(event, "no purge gives that back now");
      return;
    }
    area = work.forTree.shift() ?? 0;
    purge.uncertainPages.clear();
    if (state.version.mergesLazyAreas) subtract(following, purge, (areas.endOf(area) - start) / PAGE_SIZE);
  }
  findings.compare(event, { start: hex(areas.startOf(area)), end: hex(areas.endOf(area)) });
  state.freeTree.mergeOrAddVmapArea(area);
}

/** The lazy count falls; a CPU that added to it just before may tell of that only now. */
function subtract(following: Following, purge: PurgeUnderWay, pages: number): void {
  changeLazyNr(following, -pages);
  if (pages > 0) purge.uncertainPages.add(pages);
}

/** The one flush of a purge: by now all lists have been taken. */
export function followPurgeFlush(following: Following, event: FollowedEvent, purge: PurgeUnderWay): void {
  const { state, findings } = following;
  if (purge.decayVas.length > 0 || (firstPool(following, purge.at + 1) >= 0 && !isOneNode(following))) {
    findings.mismatch(event, "pools must decay first");
  }
  for (const node of state.nodes) takeLazy(following, purge, node);
  const [start, end] = [purge.start, purge.end];
  const full = Number(end === ADDRESS_MAX || end - start > state.flushing.ceilingPages * PAGE_SIZE);
  findings.compare(event, { start: hex(start), end: hex(end), full });
}

function isOneNode({ state }: Following): boolean {
  return !state.version.hasVmapNodes;
}

/** Takes the areas of a lazy list that this purge gives back, and plans what becomes of them. */
function takeLazy(following: Following, purge: PurgeUnderWay, node: VmapNode): void {
  const { state } = following;
  const { areas, version } = state;
  const isTaken = (area: number): boolean => {
    const start = areas.startOf(area);
    return purge.certain.has(area) || purge.taken.some(([from, to]) => from <= start && start < to);
  };
  freeEarly(following, node, isTaken);
  const taken = lazyAreas(following, node).filter(isTaken);
  if (taken.length === 0) return;
  purge.nodes++;
  purge.start = Math.min(purge.start, areas.startOf(taken[0]));
  purge.end = Math.max(purge.end, areas.endOf(taken[taken.length - 1]));
  const work: NodeWork = { node, forPools: [], forTree: [], pages: 0, begun: false };
  for (const area of taken) {
    node.lazy.tree.unlinkVa(area);
    work.pages += (areas.endOf(area) - areas.startOf(area)) / PAGE_SIZE;
    const before = work.forTree.at(-1) ?? 0;
    if (isForPool(following, purge, area)) work.forPools.push(area);
    else if (version.mergesLazyAreas && before !== 0 && areas.endOf(before) === areas.startOf(area)) {
      areas.end[before] = areas.endOf(area);
      areas.release(area);
    } else work.forTree.push(area);
  }
  if (version.reclaimsLastFirst) work.forTree.reverse();
  purge.purged += work.forPools.length + work.forTree.length;
  purge.work.push(work);
}

/** Areas that other CPUs have put on the list and not told of yet. */
function freeEarly(following: Following, node: VmapNode, isTaken: (area: number) => boolean): void {
  const { state, cpus } = following;
  for (const { freeing } of cpus) {
    if (freeing === null || freeing.early !== null || !isTaken(freeing.area)) continue;
    if (lazyNodeOf(following, freeing.area) !== node) continue;
    const start = state.areas.startOf(freeing.area);
    freeing.early = {
      start,
      end: state.areas.endOf(freeing.area),
      flags: state.areas.flagsOf(freeing.area),
      node: node.id,
    };
    moveToLazy(following, freeing.area, node);
    if (!freeing.isAdded) changeLazyNr(following, freeing.pages);
    freeing.isAdded = true;
  }
}

function isForPool({ state }: Following, purge: PurgeUnderWay, area: number): boolean {
  const id = decodeVnId(state.areas.flagsOf(area));
  const size = state.areas.endOf(area) - state.areas.startOf(area);
  return !purge.full && state.nodes.length > 1 && id >= 0 && id < state.nodes.length && sizeToVaPool(size) >= 0;
}

/** A node's areas are dealt out. */
export function followPurgeNode(following: Following, event: FollowedEvent): void {
  const { findings, purge } = following;
  const work = purge?.work.find(({ node }) => node.id === numberOf(event, "node"));
  if (purge === null || work === undefined || work.begun) {
    findings.mismatch(event, "no purge has areas of that node now");
    return;
  }
  work.begun = true;
  findings.compare(event, { skip_populate: Number(purge.full) });
  if (work.forPools.length === 0) subtract(following, purge, work.pages);
}

/** An area goes to the head of a pool: the lowest that is left. */
export function followPoolAdd(following: Following, event: FollowedEvent): void {
  const { state, findings, purge } = following;
  const { areas } = state;
  const work = purge?.work.find(({ node, begun }) => begun && node.id === numberOf(event, "node"));
  const area = work?.forPools.shift();
  if (purge === null || work === undefined || area === undefined) {
    findings.mismatch(event, "the node has no area for a pool");
    return;
  }
  const [start, end] = [areas.startOf(area), areas.endOf(area)];
  const pool = sizeToVaPool(end - start);
  areas.listAddAfter(area, work.node.poolHead(pool));
  const length = work.node.addToPoolLength(pool, 1);
  findings.compare(event, { start: hex(start), end: hex(end), len: length });
  if (work.forPools.length === 0) subtract(following, purge, work.pages);
}

/** A purge is over: everything that it took has been given back. */
export function followPurge(following: Following, event: FollowedEvent): void {
  const { state, findings, purge } = following;
  if (purge === null) {
    findings.mismatch(event, "no purge is under way");
    return;
  }
  if (purge.decayVas.length > 0 || purge.work.some(({ forPools, forTree }) => forPools.length + forTree.length > 0)) {
    findings.mismatch(event, "some of what was taken has not been given back");
  }
  findings.compare(event, {
    start: hex(purge.start),
    end: hex(purge.end),
    areas: purge.purged,
    full_decay: Number(purge.full),
    nodes: purge.nodes,
    lazy_nr: lazyNrAt(following, event),
  });
  if (purge.decayed !== null) state.areas.releaseListHead(purge.decayed.head);
  if (purge.purged === 0 && purge.aliases?.flush === true) {
    const full = Number(purge.end - purge.start > state.flushing.ceilingPages * PAGE_SIZE);
    const fields = { start: hex(purge.start), end: hex(purge.end), full };
    following.cpus[event.cpu].due.push({ ev: "flush_range", fields, start: 0, end: 0 });
  }
  following.purge = null;
}
