/** Whether the records of a snapshot can be those of one kernel: each is compared with the others before any is restored. */

import { MmulabError } from "../../arch/isa/errors.ts";
import { LEVEL_BYTES, LINEAR_SPACE_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { VMALLOC_START } from "../lib/memory-layout.ts";
import type { PageTableRun } from "../views/page-table-run.ts";
import { MAX_VA_SIZE_PAGES } from "../vmalloc/areas/vmap-node.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { FreeAreaRecord, RestoredArea, VmallocSnapshot, VmapBlockRecord } from "./vmalloc-snapshot.ts";

/** A recorded state that contradicts itself. */
export class RestoreError extends MmulabError {
  override readonly name = "RestoreError";
  /** The record of the snapshot, the details or the runs that does not fit the others; null when no single one is to blame. */
  readonly record: object | null;

  /** @param message the contradiction, in one line */
  constructor(message: string, record: object | null = null) {
    super("BAD_STATE", message);
    this.record = record;
  }
}

/** vmalloc hands out addresses from 1 to here: `vmap_init_free_space` begins with one gap of them. */
const FIRST_ADDRESS = 1;
const LAST_ADDRESS = LINEAR_SPACE_BYTES - 1;
/** Above these bits of va_flags is the number of the node that an area came from, plus 1 (`encode_vn_id`). */
const VN_ID_SHIFT = 8;
/** No red-black tree that fits into memory is deeper. */
const DEPTH_MAX = 64;

/**
 * Compares all records of a snapshot with each other.
 * @param details what `/proc/vmallocinfo` says of busy areas
 * @param runs the page tables of the vmalloc range
 * @throws RestoreError for the first that does not fit the others
 */
export function checkSnapshot(
  state: Vmalloc,
  snapshot: VmallocSnapshot,
  details: readonly RestoredArea[],
  runs: readonly PageTableRun[],
): void {
  checkPlaces(state, snapshot);
  checkAddressSpace(snapshot);
  checkFreeTree(snapshot.free);
  checkPools(snapshot);
  checkLazyPages(snapshot);
  checkBlocks(state, snapshot);
  checkDetails(state, snapshot, details);
  checkRuns(runs);
}

/** Nodes, pools and CPUs that records name must exist. */
function checkPlaces({ nodes, config }: Vmalloc, snapshot: VmallocSnapshot): void {
  for (const area of [...snapshot.busy, ...snapshot.lazy, ...snapshot.pool]) {
    if (area.node < nodes.length) continue;
    throw new RestoreError(
      `the area at ${hex(area.start)} is in vmap node ${area.node}, but there are ${nodes.length}`,
      area,
    );
  }
  for (const area of snapshot.pool) {
    if (area.index < MAX_VA_SIZE_PAGES) continue;
    throw new RestoreError(
      `the area at ${hex(area.start)} is in pool ${area.index}, but there are ${MAX_VA_SIZE_PAGES}`,
      area,
    );
  }
  for (const block of snapshot.blocks) {
    if (block.cpu < config.possibleCpus && block.hash < config.possibleCpus) continue;
    const where = `CPU ${block.cpu}, hash ${block.hash}`;
    throw new RestoreError(
      `the vmap block at ${hex(block.start)} is of ${where}: there are ${config.possibleCpus} CPUs`,
      block,
    );
  }
}

/** Every address is in exactly one gap or area: free, busy, lazily freed or pooled. */
function checkAddressSpace(snapshot: VmallocSnapshot): void {
  const all = [...snapshot.free, ...snapshot.busy, ...snapshot.lazy, ...snapshot.pool];
  all.sort((a, b) => a.start - b.start || a.end - b.end);
  let at = FIRST_ADDRESS;
  for (const each of all) {
    const what = `${hex(each.start)}-${hex(each.end)}`;
    if (each.start > at) throw new RestoreError(`nothing says what lies from ${hex(at)} to ${hex(each.start)}`, each);
    if (each.start < at) throw new RestoreError(`${what} begins below ${hex(at)}, where what is before it ends`, each);
    if (each.end <= each.start) throw new RestoreError(`${what} has no bytes`, each);
    at = each.end;
  }
  if (at !== LAST_ADDRESS) throw new RestoreError(`nothing says what lies from ${hex(at)} to ${hex(LAST_ADDRESS)}`);
}

/** Records in pre-order whose depths fit their children, and whose addresses fit their places. */
function checkFreeTree(records: readonly FreeAreaRecord[]): void {
  /** What has to come yet, the next last: depths, and the bounds of addresses. */
  const due = [{ depth: 0, low: 0, high: LINEAR_SPACE_BYTES, parentIsRed: false }];
  for (const record of records) {
    const place = due.pop();
    const what = `the gap at ${hex(record.start)}`;
    if (place === undefined) throw new RestoreError(`${what} is one more than the free tree has places`, record);
    const { depth, low, high, parentIsRed } = place;
    if (record.depth !== depth || depth > DEPTH_MAX) {
      throw new RestoreError(
        `${what} is at depth ${record.depth}, its place in the free tree at depth ${depth}`,
        record,
      );
    }
    if (record.start < low || record.end > high) {
      throw new RestoreError(
        `${what} is out of order in the free tree: expected one in ${hex(low)}-${hex(high)}`,
        record,
      );
    }
    if (parentIsRed && !record.black) throw new RestoreError(`${what} is red below a red one`, record);
    const below = { depth: depth + 1, parentIsRed: !record.black };
    if (record.hasRight) due.push({ ...below, low: record.end, high });
    if (record.hasLeft) due.push({ ...below, low, high: record.start });
  }
  if (due.length > 0) throw new RestoreError("the free tree's records end before the tree is complete", records.at(-1));
}

/** A pool holds areas of one size, as many as its length says. */
function checkPools({ pool }: VmallocSnapshot): void {
  const counts = new Map<string, number>();
  const keyOf = (area: { node: number; index: number }): string => `${area.node}/${area.index}`;
  for (const area of pool) counts.set(keyOf(area), (counts.get(keyOf(area)) ?? 0) + 1);
  for (const area of pool) {
    const pages = (area.end - area.start) / PAGE_SIZE;
    const what = `the area at ${hex(area.start)}`;
    if (pages !== area.index + 1)
      throw new RestoreError(`${what} has ${pages} pages, its pool ${area.index + 1}`, area);
    if (area.vaFlags >> VN_ID_SHIFT !== area.node + 1) {
      throw new RestoreError(`${what} is in a pool of node ${area.node}, but its va_flags are ${area.vaFlags}`, area);
    }
    const count = counts.get(keyOf(area));
    if (area.length !== count) throw new RestoreError(`${what}: its pool has ${count} areas, not ${area.length}`, area);
  }
}

function checkLazyPages({ lazy, lazyNr }: VmallocSnapshot): void {
  const pages = lazy.reduce((sum, { start, end }) => sum + (end - start) / PAGE_SIZE, 0);
  if (pages === lazyNr) return;
  throw new RestoreError(`the lazily freed areas have ${pages} pages, but lazy_nr is ${lazyNr}`);
}

function checkBlocks(state: Vmalloc, { blocks, freeBlocks }: VmallocSnapshot): void {
  const { blockPages } = state.config;
  const known = new Map<number, VmapBlockRecord>();
  for (const block of blocks) {
    const what = `the vmap block at ${hex(block.start)}`;
    if (known.has(block.start)) throw new RestoreError(`${what} is there twice`, block);
    known.set(block.start, block);
    const { free, dirty, dirtyMin, dirtyMax } = block;
    if (free + dirty > blockPages) {
      throw new RestoreError(`${what} has ${free} free and ${dirty} dirty pages, more than ${blockPages}`, block);
    }
    const isClean = dirtyMin === blockPages && dirtyMax === 0;
    if (!isClean && (dirtyMin >= dirtyMax || dirtyMax > blockPages || dirtyMax - dirtyMin > blockPages - free)) {
      throw new RestoreError(`${what} has dirty pages from ${dirtyMin} to ${dirtyMax}, with ${free} free ones`, block);
    }
    if (!isClean && dirty === 0) throw new RestoreError(`${what} has no dirty pages, but a dirty range`, block);
    const hash = state.addrToVbXa(block.start);
    if (hash !== block.hash) throw new RestoreError(`${what} has hash ${block.hash}: expected ${hash}`, block);
  }
  const listed = new Set<number>();
  for (const entry of freeBlocks) {
    const block = known.get(entry.start);
    const what = `the vmap block at ${hex(entry.start)}`;
    if (block === undefined) throw new RestoreError(`no vmap block at ${hex(entry.start)}`, entry);
    if (listed.has(entry.start)) throw new RestoreError(`${what} is twice in its CPU's list`, entry);
    listed.add(entry.start);
    const { dirtyMin = block.dirtyMin, dirtyMax = block.dirtyMax } = entry;
    if (dirtyMin !== block.dirtyMin || dirtyMax !== block.dirtyMax) {
      throw new RestoreError(`${what} has dirty pages from ${dirtyMin} to ${dirtyMax}, elsewhere others`, entry);
    }
    if (entry.cpu === block.cpu && entry.free === block.free && entry.dirty === block.dirty) continue;
    const says = `CPU ${entry.cpu}, ${entry.free} free and ${entry.dirty} dirty pages`;
    throw new RestoreError(`${what} has ${says}, elsewhere CPU ${block.cpu}, ${block.free} and ${block.dirty}`, entry);
  }
  const left = blocks.find(({ start, free }) => free > 0 && !listed.has(start));
  if (left !== undefined)
    throw new RestoreError(`the vmap block at ${hex(left.start)} has free pages but is in no list`, left);
}

/** What `/proc/vmallocinfo` says is of areas that there are, and no area has more pages than fit into it. */
function checkDetails(state: Vmalloc, snapshot: VmallocSnapshot, details: readonly RestoredArea[]): void {
  const busy = new Map(snapshot.busy.map((area) => [area.start, area]));
  const seen = new Set<number>();
  for (const detail of details) {
    const area = busy.get(detail.start);
    const what = `the area at ${hex(detail.start)}`;
    if (area === undefined) throw new RestoreError(`${what} is not among the busy ones`, detail);
    if (seen.has(detail.start)) throw new RestoreError(`${what} is there twice`, detail);
    seen.add(detail.start);
    const pages = (area.end - area.start) / PAGE_SIZE;
    const most = Math.min(pages, state.pages.totalPages);
    if (detail.pages > most)
      throw new RestoreError(`${what} has ${detail.pages} pages: expected at most ${most}`, detail);
  }
}

/** Runs follow each other from the start of vmalloc space; each begins and ends where entries of its level do. */
function checkRuns(runs: readonly PageTableRun[]): void {
  let at = VMALLOC_START;
  for (const run of runs) {
    const what = `the run of ${run.level}s at ${hex(run.start)}`;
    if (run.start !== at) throw new RestoreError(`${what}: expected one at ${hex(at)}, where the one before ends`, run);
    const bytes = LEVEL_BYTES[LEVEL_NUMBERS[run.level]];
    if (run.end <= run.start || run.start % bytes !== 0 || run.end % bytes !== 0) {
      throw new RestoreError(`${what} ends at ${hex(run.end)}: expected whole entries of ${bytes} bytes`, run);
    }
    const isLarge = run.level === "pmd" || run.level === "pud";
    if (run.present && run.pse !== isLarge) throw new RestoreError(`${what} maps pages that this level has not`, run);
    if (run.present && !isLarge && run.level !== "pte") throw new RestoreError(`${what} maps pages`, run);
    at = run.end;
  }
}

/** Levels by the names of the dump; four-level paging folds p4d away. */
export const LEVEL_NUMBERS = { pte: 1, pmd: 2, pud: 3, p4d: 4, pgd: 4 } as const;

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
