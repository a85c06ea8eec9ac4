/**
 * The whole state of vmalloc as plain records: what a recording of a real kernel starts from and ends with, what
 * `--save` keeps, and what two runs are compared by. Addresses are 48-bit linear addresses.
 */

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
