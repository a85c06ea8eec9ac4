/**
 * The versions of the kernel that are emulated, and all that differs between them. Code outside of this room asks what a kernel
 * does, never which version it is.
 */
import { ConfigError } from "../lib/config-error.ts";
import type { KernelVersion, PoolDecay } from "./kernel-version.ts";

/** A quarter of each pool; with one to three areas that is none, the countdown wraps, and all go. The length is cleared first when all go. */
function decayWrapping(length: number, full: boolean): PoolDecay {
  const quarter = length >> 2;
  if (full) return { areas: length, shownLength: 0, shownDecay: 0 };
  return { areas: quarter > 0 ? quarter : length, shownLength: length, shownDecay: quarter };
}

/** A quarter of each pool, rounded down. */
function decayQuarter(length: number, full: boolean): PoolDecay {
  const areas = full ? length : length >> 2;
  return { areas, shownLength: length, shownDecay: areas };
}

function searchUpwards(node: number, nodes: number): number {
  return (node + 1) % nodes;
}

function searchDownwards(node: number, nodes: number): number {
  return (node + nodes - 1) % nodes;
}

function shareOfNode(sizeBytes: number, numaNodes: number): number {
  return sizeBytes / numaNodes;
}

function wholeSize(sizeBytes: number): number {
  return sizeBytes;
}

const LINUX_6_12: KernelVersion = {
  name: "6.12",
  since: "6.9",
  release: "6.12.117",
  isRecorded: true,
  hasVmapNodes: true,
  areaFlagsMask: -1,
  hasRequestedSize: true,
  tiesVmUnderLock: false,
  vfreeFindsFirst: false,
  variablesLayout: "locks apart",
  mergesLazyAreas: false,
  reclaimsLastFirst: true,
  drainRepeats: false,
  decayOf: decayWrapping,
  nextNodeToSearch: searchUpwards,
  blocks: { hasPurgeThreshold: true, filedByCpu: true, aliasesScan: "all" },
  nowaitSkipsOverflow: false,
  asksLargeOrdersFirst: false,
  hugeSizeOf: shareOfNode,
  failedAreasFreedByWork: false,
  vmallocUsedLags: false,
  vreallocFreesTail: false,
  zapDrainsLru: true,
  lruAddPages: 31,
  lruReleasePages: 31,
  gatherEntriesKept: 1,
  gathersTablesWithPages: true,
  hasPerVmaLock: true,
  vmaLockNeedsAnonVma: false,
  madviseLocksVma: false,
  hasVmaRefcount: false,
  usesInvlpgb: false,
  hasSetMemoryRox: true,
  joinsRoxPages: false,
  hasExecmemCache: false,
};

const LINUX_7_3: KernelVersion = {
  ...LINUX_6_12,
  name: "7.3",
  since: "7.0",
  release: "7.3.4",
  decayOf: decayQuarter,
  nextNodeToSearch: searchDownwards,
  nowaitSkipsOverflow: true,
  asksLargeOrdersFirst: true,
  hugeSizeOf: wholeSize,
  failedAreasFreedByWork: true,
  vmallocUsedLags: true,
  vreallocFreesTail: true,
  zapDrainsLru: false,
  madviseLocksVma: true,
  hasVmaRefcount: true,
  gathersTablesWithPages: false,
  usesInvlpgb: true,
  joinsRoxPages: true,
  hasExecmemCache: true,
};

/**
 * User memory as in 6.15: what its INVLPGB series and those before it changed. Of vmalloc nothing is known that 6.12 does otherwise; what 7.3 does
 * otherwise came at some time between the two. No recording shows it.
 */
const LINUX_6_15: KernelVersion = {
  ...LINUX_6_12,
  name: "6.15",
  since: "6.15",
  release: "6.15",
  isRecorded: false,
  zapDrainsLru: false,
  gathersTablesWithPages: false,
  hasVmaRefcount: true,
  usesInvlpgb: true,
  joinsRoxPages: true,
};

/** One tree as in 6.1, with the flags of areas (6.3) and the vmap blocks of 6.4. No recording shows it. */
const LINUX_6_6: KernelVersion = {
  ...LINUX_6_12,
  name: "6.6",
  since: "6.3",
  release: "6.6",
  isRecorded: false,
  hasVmapNodes: false,
  hasRequestedSize: false,
  tiesVmUnderLock: true,
  variablesLayout: "locks together",
  mergesLazyAreas: true,
  reclaimsLastFirst: false,
  drainRepeats: true,
  lruAddPages: 15,
  lruReleasePages: 32,
  vmaLockNeedsAnonVma: true,
  gatherEntriesKept: 0,
};

const LINUX_6_1: KernelVersion = {
  ...LINUX_6_6,
  name: "6.1",
  since: "5.2",
  release: "6.1.192",
  isRecorded: true,
  areaFlagsMask: 0,
  vfreeFindsFirst: true,
  hasPerVmaLock: false,
  hasSetMemoryRox: false,
  blocks: { hasPurgeThreshold: false, filedByCpu: false, aliasesScan: "free lists" },
};

/** The versions, the oldest first. */
export const KERNEL_VERSIONS: readonly KernelVersion[] = [LINUX_6_1, LINUX_6_6, LINUX_6_12, LINUX_6_15, LINUX_7_3];

/** The version that is emulated unless another is asked for. */
export const DEFAULT_KERNEL_VERSION: KernelVersion = LINUX_6_12;

/** @throws ConfigError for a name that no version has */
export function kernelVersionByName(name: string): KernelVersion {
  const found = KERNEL_VERSIONS.find((version) => version.name === name);
  if (found !== undefined) return found;
  throw new ConfigError("kernel", name, KERNEL_VERSIONS.map((version) => version.name).join(", "));
}

/** The version that a kernel's release such as `6.12.117-gt` is one of; null for none that is emulated. */
export function kernelVersionOfRelease(release: string): KernelVersion | null {
  const [, series] = /^(\d+\.\d+)(?:[.-]|$)/.exec(release) ?? [];
  return KERNEL_VERSIONS.find(({ name }) => name === series) ?? null;
}

/**
 * The version that is nearest to a kernel's release: the newest that is not newer, or the oldest. For traces, which come from any kernel.
 * @throws ConfigError for text that does not begin with two numbers
 */
export function kernelVersionNear(release: string): KernelVersion {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (match === null) throw new ConfigError("release", release, "a release such as 6.12.117");
  const age = (text: string): number => {
    const [major, minor] = text.split(".").map(Number);
    return major * 1000 + minor;
  };
  const wanted = age(`${match[1]}.${match[2]}`);
  // What 6.6 stands for begins with 6.3, and 6.12's vmap nodes with 6.9.
  const since = (version: KernelVersion): number => age(version.since);
  return KERNEL_VERSIONS.filter((version) => since(version) <= wanted).at(-1) ?? KERNEL_VERSIONS[0];
}
