/**
 * The whole state of vmalloc as plain records: what a recording of a real kernel starts from and ends with, what
 * `--save` keeps, and what two runs are compared by. Addresses are 48-bit linear addresses.
 */

import { MAX_VA_SIZE_PAGES, type VmapNode } from "../vmalloc/areas/vmap-node.ts";
import { lazyRanges } from "../vmalloc/lazy-ranges.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";

/** A gap in the free tree, in pre-order. `depth` 0 is the root. */
export interface FreeAreaRecord {
  readonly start: number;
  readonly end: number;
  readonly subtreeMaxSize: number;
  readonly depth: number;
  readonly black: boolean;
  readonly hasLeft: boolean;
  readonly hasRight: boolean;
}

/** The part of a vm_struct that a recording names. */
export interface VmStructRecord {
  readonly flags: number;
  readonly requestedSizeBytes: number;
  readonly pageOrder: number;
}

/** A busy area; `vm` is null for `vm_map_ram` areas and vmap blocks. */
export interface BusyAreaRecord {
  readonly start: number;
  readonly end: number;
  readonly vaFlags: number;
  readonly node: number;
  readonly vm: VmStructRecord | null;
}

/** A lazily freed area on the list of `node`. */
export interface LazyAreaRecord {
  readonly start: number;
  readonly end: number;
  readonly vaFlags: number;
  readonly node: number;
}

/** An area in a pool, head first; the pool `index` holds areas of `index + 1` pages, `length` of them. */
export interface PooledAreaRecord extends LazyAreaRecord {
  readonly index: number;
  readonly length: number;
}

/** A vmap block. `hash` is the CPU under whose hash it is filed; `cpu` is the one it serves. Counts are pages. */
export interface VmapBlockRecord {
  readonly start: number;
  readonly cpu: number;
  readonly hash: number;
  readonly free: number;
  readonly dirty: number;
  readonly dirtyMin: number;
  readonly dirtyMax: number;
}

/** A vmap block with free space, in the order of its CPU's list. */
export interface FreeVmapBlockRecord {
  readonly start: number;
  readonly cpu: number;
  readonly free: number;
  readonly dirty: number;
  /** Bounds of its dirty pages, where a recording has them here too. */
  readonly dirtyMin?: number;
  readonly dirtyMax?: number;
}

/** What `/proc/vmallocinfo` says of a busy area beyond its snapshot record. */
export interface RestoredArea {
  readonly start: number;
  /** `symbol+0xoffset/0xsize`, or "" if unknown. */
  readonly caller: string;
  /** Pages allocated for it. */
  readonly pages: number;
  /** Physical address that it maps, or null. */
  readonly physAddr: number | null;
  /** Whether its array of page pointers is an area itself (`vpages`). */
  readonly hasArrayArea: boolean;
}

/** State of vmalloc. `busy` and `lazy` are in address order within each node. */
export interface VmallocSnapshot {
  readonly free: readonly FreeAreaRecord[];
  readonly busy: readonly BusyAreaRecord[];
  readonly lazy: readonly LazyAreaRecord[];
  readonly pool: readonly PooledAreaRecord[];
  readonly blocks: readonly VmapBlockRecord[];
  readonly freeBlocks: readonly FreeVmapBlockRecord[];
  /** Lazily freed pages. */
  readonly lazyNr: number;
}

/** The state at this moment. */
export function snapshotVmalloc(state: Vmalloc): VmallocSnapshot {
  const { nodes } = state;
  return {
    free: freeRecords(state),
    busy: nodes.flatMap((node) => busyRecords(state, node)),
    lazy: nodes.flatMap((node) =>
      lazyRanges(state, node).map(({ start, end, flags }) => ({
        start,
        end,
        vaFlags: flags & state.version.areaFlagsMask,
        node: node.id,
      })),
    ),
    pool: nodes.flatMap((node) => poolRecords(state, node)),
    blocks: blockRecords(state),
    freeBlocks: freeBlockRecords(state),
    lazyNr: state.lazyNr,
  };
}

function listed(state: Vmalloc, head: number): number[] {
  const { areas } = state;
  const found: number[] = [];
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) found.push(area);
  return found;
}

function areaRecord(state: Vmalloc, area: number, node: VmapNode): LazyAreaRecord {
  return {
    start: state.areas.startOf(area),
    end: state.areas.endOf(area),
    vaFlags: state.areas.flagsOf(area) & state.version.areaFlagsMask,
    node: node.id,
  };
}

function freeRecords(state: Vmalloc): FreeAreaRecord[] {
  const records: FreeAreaRecord[] = [];
  const visit = (node: number, depth: number): void => {
    if (node === 0) return;
    const [left, right] = [state.areas.leftOf(node), state.areas.rightOf(node)];
    records.push({
      start: state.areas.startOf(node),
      end: state.areas.endOf(node),
      subtreeMaxSize: state.areas.subtreeMaxSizeOf(node),
      depth,
      black: state.areas.blackOf(node) !== 0,
      hasLeft: left !== 0,
      hasRight: right !== 0,
    });
    visit(left, depth + 1);
    visit(right, depth + 1);
  };
  visit(state.freeTree.root, 0);
  return records;
}

function busyRecords(state: Vmalloc, node: VmapNode): BusyAreaRecord[] {
  const { areas, vms } = state;
  return listed(state, node.busy.tree.head).map((area) => {
    const vm = areas.vmOf(area);
    const record =
      vm === 0
        ? null
        : { flags: vms.flags[2 * vm], requestedSizeBytes: requestedSize(state, vm), pageOrder: vms.pageOrderOf(vm) };
    return { ...areaRecord(state, area, node), vm: record };
  });
}

/** The size that was asked for; where the kernel does not keep it, that of the area without its guard page. */
function requestedSize({ vms, version }: Vmalloc, vm: number): number {
  return version.hasRequestedSize ? vms.requestedSizeBytes[vm] : vms.usableSizeBytes(vm);
}

function poolRecords(state: Vmalloc, node: VmapNode): PooledAreaRecord[] {
  const records: PooledAreaRecord[] = [];
  for (let index = 0; index < MAX_VA_SIZE_PAGES; index++) {
    for (const area of listed(state, node.poolHead(index))) {
      records.push({ ...areaRecord(state, area, node), index, length: node.poolLength(index) });
    }
  }
  return records;
}

function blockRecords(state: Vmalloc): VmapBlockRecord[] {
  const { blocks } = state;
  return blocks.index.flatMap((index, hash) =>
    [...index.keys()]
      .sort((a, b) => a - b)
      .map((start) => {
        const block = index.get(start) ?? 0;
        return {
          start,
          cpu: blocks.cpu[block],
          hash,
          free: blocks.free[block],
          dirty: blocks.dirty[block],
          dirtyMin: blocks.dirtyMin[block],
          dirtyMax: blocks.dirtyMax[block],
        };
      }),
  );
}

function freeBlockRecords(state: Vmalloc): FreeVmapBlockRecord[] {
  const { areas, blocks } = state;
  const records: FreeVmapBlockRecord[] = [];
  for (let cpu = 0; cpu < blocks.queueHead.length; cpu++) {
    for (let block = blocks.queueHead[cpu]; block !== 0; block = blocks.next[block]) {
      const start = areas.startOf(blocks.area[block]);
      records.push({ start, cpu, free: blocks.free[block], dirty: blocks.dirty[block] });
    }
  }
  return records;
}
