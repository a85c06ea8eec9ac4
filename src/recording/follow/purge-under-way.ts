/** What is known of a purge that a recording tells of, from its beginning to its end. */
import type { AreaTree } from "../../../mm/vmalloc/areas/area-tree.ts";
import type { VmapNode } from "../../../mm/vmalloc/areas/vmap-node.ts";

/** What a purge still has to do with a node's areas. */
export interface NodeWork {
  readonly node: VmapNode;
  /** Areas for the pools, then areas for the free tree, each in the order in which they must come. */
  readonly forPools: number[];
  readonly forTree: number[];
  pages: number;
  begun: boolean;
}

/** A range of addresses that has been unmapped in vmap blocks, and whether it must be flushed though nothing else is purged. */
export interface DirtyRange {
  readonly start: number;
  readonly end: number;
  readonly flush: boolean;
}

/** The purge under way. */
export interface PurgeUnderWay {
  /** The CPU that purges. */
  readonly cpu: number;
  /** What makes it purge: queued work, a search that found no room, `vm_unmap_aliases`; "none": nothing that is known. */
  readonly reason: "drain" | "overflow" | "aliases" | "none";
  /** Of `vm_unmap_aliases`, the range that its vmap blocks add; otherwise null. */
  readonly aliases: DirtyRange | null;
  /** Whether pools give up all of their areas. */
  readonly full: boolean;
  /** Ranges that the recording says were taken. */
  readonly taken: readonly (readonly [start: number, end: number])[];
  /** Areas freed before it began. */
  readonly certain: ReadonlySet<number>;
  /** The range to be flushed. */
  start: number;
  end: number;
  /** Pages by which the lazy count may be off where another CPU tells of it now. */
  readonly uncertainPages: Set<number>;
  readonly work: NodeWork[];
  /** Areas that it takes, and nodes that have some. */
  purged: number;
  nodes: number;
  /** Where decaying has come to: the node's number times the pools of a node, plus the pool; -1 before the first. */
  at: number;
  /** Areas of that pool that are still to be given up, and the tree of all that were. */
  decayVas: number[];
  decayed: AreaTree | null;
}
