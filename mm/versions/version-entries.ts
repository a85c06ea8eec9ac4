/**
 * The entries of a kernel's version one by one: what each decides, which of them differ between two versions, and kernels that have some
 * entries of one version and the others of another. Such a kernel never was; it shows what an entry by itself changes.
 */
import type { BlockRules, KernelVersion } from "./kernel-version.ts";

/** What says which version it is, and decides nothing. */
type Label = "name" | "since" | "release" | "isRecorded";

/** An entry by name; those of vmap blocks after a point. */
export type VersionEntry = Exclude<keyof KernelVersion, Label | "blocks"> | `blocks.${keyof BlockRules}`;

/** What each entry decides, in a few words. */
export const VERSION_ENTRIES: Readonly<Record<VersionEntry, string>> = {
  hasVmapNodes: "busy trees, lazy lists and pools by vmap node (6.9)",
  areaFlagsMask: "flags in struct vmap_area (6.3)",
  hasRequestedSize: "struct vm_struct has the size that was asked for",
  tiesVmUnderLock: "an area in its tree is tied to its vm_struct under the lock (until 6.9)",
  vfreeFindsFirst:
    "vfree finds an area, clears it and unlinks it under one lock each, vm_unmap_ram finds and unlinks it so (until 6.2)",
  variablesLayout: "which variables of vmalloc share a cache line",
  mergesLazyAreas: "lazily freed areas merge with their neighbours at once (until 6.8)",
  reclaimsLastFirst: "a purge gives areas back from the end of its list",
  drainRepeats: "the drain work purges again while too much is lazily freed (until 6.8)",
  decayOf: "how much of a pool a purge takes",
  nextNodeToSearch: "the order in which nodes are searched for an address",
  "blocks.hasPurgeThreshold": "fragmented vmap blocks are purged only when few pages are free (6.4)",
  "blocks.filedByCpu": "vmap blocks are filed by CPU (6.4)",
  "blocks.aliasesScan": "which vmap blocks vm_unmap_aliases looks at (6.4)",
  nowaitSkipsOverflow: "GFP_NOWAIT that finds no room fails without a purge",
  asksLargeOrdersFirst: "frames are asked for in large orders, which are split",
  hugeSizeOf: "the size that decides whether huge pages are used",
  failedAreasFreedByWork: "an area that could not be populated is freed by a work item",
  vmallocUsedLags: "VmallocUsed is summed up later",
  vreallocFreesTail: "vrealloc that shrinks gives pages back",
  zapDrainsLru: "taking user pages out drains the CPU's LRU batch (until 6.13)",
  lruAddPages: "pages of a CPU's LRU batch (31 since 6.10)",
  lruReleasePages: "pages that leave the LRU lists at a time",
  gatherEntriesKept: "entries that a batch of a gather keeps free (6.9)",
  gathersTablesWithPages: "freed user page tables wait among freed pages (until 6.14)",
  hasPerVmaLock: "page faults lock one mapping (6.4)",
  vmaLockNeedsAnonVma: "a mapping without a page of its own yet is not locked by itself, also to read (until 6.9)",
  madviseLocksVma: "MADV_DONTNEED locks one mapping (6.17)",
  hasVmaRefcount: "the lock of a mapping is a count of its readers (6.15)",
  usesInvlpgb: "kernel ranges are flushed by INVLPGB where there is such (6.15)",
  hasSetMemoryRox: "set_memory_rox changes two rights at once (6.2)",
  joinsRoxPages: "set_memory_rox puts small pages together to large ones again (6.15)",
  hasExecmemCache: "text of modules comes from a cache of large executable pages",
};

const ENTRY_NAMES = Object.keys(VERSION_ENTRIES) as readonly VersionEntry[];

/** The entries in which two versions differ. */
export function differingEntries(a: KernelVersion, b: KernelVersion): VersionEntry[] {
  return ENTRY_NAMES.filter((name) => entryOf(a, name) !== entryOf(b, name));
}

/** `version` with some entries of `other`. It keeps its name. */
export function withEntries(
  version: KernelVersion,
  other: KernelVersion,
  names: readonly VersionEntry[],
): KernelVersion {
  const changed: Record<string, unknown> = { ...version };
  const blocks: Record<string, unknown> = { ...version.blocks };
  for (const name of names) {
    const rule = ruleOf(name);
    if (rule === null) changed[name] = entryOf(other, name);
    else blocks[rule] = entryOf(other, name);
  }
  return { ...changed, blocks } as unknown as KernelVersion;
}

/** The value of an entry in words: a function by its name, a switch as yes or no. */
export function describeEntry(version: KernelVersion, name: VersionEntry): string {
  const value = entryOf(version, name);
  if (typeof value === "function") return value.name;
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

function entryOf(version: KernelVersion, name: VersionEntry): unknown {
  const rule = ruleOf(name);
  return rule === null ? version[name as keyof KernelVersion] : version.blocks[rule];
}

/** The rule of vmap blocks that an entry is; null for other entries. */
function ruleOf(name: VersionEntry): keyof BlockRules | null {
  return name.startsWith("blocks.") ? (name.slice("blocks.".length) as keyof BlockRules) : null;
}
