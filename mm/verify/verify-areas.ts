/**
 * Checks where areas are: free, busy, lazily freed, being purged and pooled ranges are disjoint and cover the whole address
 * space; each is in the node and the pool that it belongs to; the counts agree.
 */

import { PAGE_SIZE, UPPER_HALF } from "../../arch/isa/linear-address.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { VMAP_BLOCK, VMAP_FLAGS_MASK } from "../vmalloc/areas/vmap-areas.ts";
import { MAX_VA_SIZE_PAGES, type VmapNode } from "../vmalloc/areas/vmap-node.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import { address, areaRange, type Findings } from "./verify-findings.ts";
import { ShapeCheck } from "./verify-trees.ts";

/** Where an area is. */
export type Place = "free" | "busy" | "lazily freed" | "being purged" | "pooled";

/** Areas by place; `busy` in address order, `all` and their `places` in address order. */
export interface AreaCensus {
  readonly all: readonly number[];
  readonly places: readonly Place[];
  readonly busy: readonly number[];
}

/** Finds every area there is and checks all that concerns its place. */
export function verifyAreas(state: Vmalloc, findings: Findings): AreaCensus {
  const { areas } = state;
  const shapes = new ShapeCheck(areas, findings);
  const found: [area: number, place: Place][] = [];
  for (const area of shapes.tree(state.freeTree, "free tree", true)) found.push([area, "free"]);
  let lazyPages = 0;
  for (const node of state.nodes) {
    for (const area of shapes.tree(node.busy.tree, `busy tree of node ${node.id}`, false)) {
      found.push([area, "busy"]);
      if (node.busy.findStart(areas.startOf(area)) !== area) {
        findings.add(`the table of starts of node ${node.id} does not name ${areaRange(areas, area)}`);
      }
      verifyBusy(state, area, node.id, findings);
    }
    for (const area of shapes.tree(node.lazy.tree, `lazy tree of node ${node.id}`, false)) {
      found.push([area, "lazily freed"]);
      lazyPages += pagesOf(state, area);
      verifyLazy(state, area, node.id, findings);
    }
    for (const area of shapes.list(node.purgeList, `purge list of node ${node.id}`)) {
      found.push([area, "being purged"]);
      lazyPages += pagesOf(state, area);
      verifyLazy(state, area, node.id, findings);
    }
    for (let pool = 0; pool < MAX_VA_SIZE_PAGES; pool++) {
      if (isEmptyPool(state, node, pool)) continue;
      for (const area of verifyPool(state, shapes, node.id, pool, findings)) found.push([area, "pooled"]);
    }
  }
  if (lazyPages !== state.lazyNr) {
    findings.add(`lazyNr is ${state.lazyNr} pages, but ${lazyPages} pages are lazily freed`);
  }
  const placed = found.length + state.neFitPreload.count;
  if (areas.liveCount !== placed) {
    findings.add(`${areas.liveCount} areas are in use, but ${placed} are in trees, on lists and kept for a split`);
  }
  found.sort(([a], [b]) => areas.startOf(a) - areas.startOf(b));
  const census: AreaCensus = {
    all: found.map(([area]) => area),
    places: found.map(([, place]) => place),
    busy: found.filter(([, place]) => place === "busy").map(([area]) => area),
  };
  verifyCover(state, census, findings);
  return census;
}

function pagesOf({ areas }: Vmalloc, area: number): number {
  return (areas.endOf(area) - areas.startOf(area)) / PAGE_SIZE;
}

/** Which node's zone an address lies in: the kernel divides the 64-bit address, sign extension included. */
function zoneNode(state: Vmalloc, la: number): number {
  const { zoneSizeBytes, vmapNodes } = state.config;
  const address64 = la >= UPPER_HALF ? BigInt(la) + (0xffffn << 48n) : BigInt(la);
  return Number((address64 / BigInt(zoneSizeBytes)) % BigInt(vmapNodes));
}

/** The node id in an area's flags, or -1. */
function originOf(flags: number): number {
  return (flags >>> 8) - 1;
}

function verifyBusy(state: Vmalloc, area: number, node: number, findings: Findings): void {
  const { areas } = state;
  const range = areaRange(areas, area);
  const own = zoneNode(state, areas.startOf(area));
  if (own !== node) findings.add(`busy area ${range} is in node ${node}, but its address belongs to node ${own}`);
  const kind = areas.flagsOf(area) & VMAP_FLAGS_MASK;
  if (kind === VMAP_BLOCK) findings.add(`busy area ${range} has VMAP_BLOCK without VMAP_RAM`);
  if (areas.vmOf(area) !== 0 && kind !== 0) findings.add(`busy area ${range} has a vm_struct and vm_map_ram flags`);
  if (areas.vmOf(area) === 0 && kind === 0) findings.add(`busy area ${range} has neither a vm_struct nor VMAP_RAM`);
  verifyOrigin(state, area, findings);
}

function verifyOrigin(state: Vmalloc, area: number, findings: Findings): void {
  const { areas } = state;
  const origin = originOf(areas.flagsOf(area));
  if (origin < state.nodes.length && (origin < 0 || state.nodes.length > 1)) return;
  findings.add(`area ${areaRange(areas, area)} carries the id of node ${origin}, of ${state.nodes.length} nodes`);
}

function verifyLazy(state: Vmalloc, area: number, node: number, findings: Findings): void {
  const { areas } = state;
  const origin = originOf(areas.flagsOf(area));
  const own = origin >= 0 && origin < state.nodes.length ? origin : zoneNode(state, areas.startOf(area));
  if (own !== node) {
    findings.add(`lazily freed area ${areaRange(areas, area)} is in node ${node}, but belongs to node ${own}`);
  }
  // Below 0 the CPU that has freed it stands there.
  if (areas.vmOf(area) > 0) findings.add(`lazily freed area ${areaRange(areas, area)} still has a vm_struct`);
  verifyOrigin(state, area, findings);
}

/** Whether a pool is empty and says so: nearly all are, and checking the others is slow. */
function isEmptyPool({ areas }: Vmalloc, node: VmapNode, pool: number): boolean {
  const head = node.poolHead(pool);
  return node.poolLength(pool) === 0 && areas.nextOf(head) === head && areas.previousOf(head) === head;
}

function verifyPool(state: Vmalloc, shapes: ShapeCheck, id: number, pool: number, findings: Findings): number[] {
  const node = state.nodes[id];
  const { areas } = state;
  const name = `pool ${pool} of node ${id}`;
  const pooled = shapes.list(node.poolHead(pool), name);
  if (pooled.length !== node.poolLength(pool)) {
    findings.add(`${name} holds ${pooled.length} areas, but its length says ${node.poolLength(pool)}`);
  }
  for (const area of pooled) {
    const range = areaRange(areas, area);
    const pages = pagesOf(state, area);
    if (pages !== pool + 1) findings.add(`${name} holds ${range} of ${pages} pages, but is for ${pool + 1} pages`);
    const origin = originOf(areas.flagsOf(area));
    if (origin !== id) findings.add(`${name} holds ${range}, which carries the id of node ${origin}`);
  }
  return pooled;
}

function verifyCover({ areas }: Vmalloc, census: AreaCensus, findings: Findings): void {
  let reached = 1;
  const nameOf = (i: number): string =>
    i < 0 ? "the beginning of the address space" : `${census.places[i]} area ${areaRange(areas, census.all[i])}`;
  for (let i = 0; i < census.all.length; i++) {
    const area = census.all[i];
    const start = areas.startOf(area);
    const end = areas.endOf(area);
    if (!(start < end)) findings.add(`${nameOf(i)} is empty`);
    if (census.places[i] !== "free" && (start % PAGE_SIZE !== 0 || end % PAGE_SIZE !== 0)) {
      findings.add(`${nameOf(i)} is not a whole number of pages`);
    }
    if (start > reached) {
      const gap = `${address(reached)}-${address(start)}`;
      findings.add(`${gap} belongs to nobody: between ${nameOf(i - 1)} and ${nameOf(i)}`);
    }
    if (start < reached) findings.add(`${nameOf(i)} overlaps with ${nameOf(i - 1)}`);
    reached = Math.max(reached, end);
  }
  if (reached !== ADDRESS_MAX) {
    findings.add(`the address space is accounted for up to ${address(reached)}, not to ${address(ADDRESS_MAX)}`);
  }
}
