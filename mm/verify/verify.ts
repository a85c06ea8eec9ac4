/**
 * The independent checker: walks all of vmalloc's state, the page tables, the frames, the slabs and the TLBs, and says what contradicts
 * what. It works from what the state must be and calls none of the code that keeps it so.
 */
import { formatRange } from "../lib/kernel-log.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { UserSpaces } from "../user/user-spaces.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import { verifyAreas } from "./verify-areas.ts";
import { verifyBlocks } from "./verify-blocks.ts";
import { verifyExecmem } from "./verify-execmem.ts";
import { Findings } from "./verify-findings.ts";
import { verifyFrames } from "./verify-frames.ts";
import { verifyMappings } from "./verify-mappings.ts";
import { type FrameTest, verifyPageTables } from "./verify-page-tables.ts";
import { verifySlabs } from "./verify-slabs.ts";
import { verifyTlbs } from "./verify-tlbs.ts";
import { verifyVmStructs } from "./verify-vm-structs.ts";

/** Page tables for user addresses (`MmStruct` has such). */
export interface UserSpaceTables {
  readonly tables: PageTables;
  /** The top table that user mode runs on with page-table isolation, else 0. */
  readonly userRootFrame: number;
}

/** Of no frame is it known whether it is zero. */
const nothingKnown: FrameTest = () => false;

/**
 * Checks the whole state while no call is under way (queued work may be pending): the kernel's own address space, and those of all
 * processes (`UserSpaces.mms`).
 * @param others page tables for user addresses that a program made by itself, of frames that would look leaked otherwise
 * @param isZero says of a frame that it is all zero, for hosts that can tell more quickly than by looking through it; it may say no
 * @returns one line a finding, naming addresses and frames; empty when all is well
 */
export function verifyVmalloc(
  state: Vmalloc,
  others: readonly UserSpaceTables[] = [],
  isZero: FrameTest = nothingKnown,
): string[] {
  const findings = new Findings();
  const userSpaces = userSpacesOf(state, others);
  verifyLocks(state, findings);
  const census = verifyAreas(state, findings);
  verifyVmStructs(state, census, findings);
  const blockOf = verifyBlocks(state, census, findings);
  for (const tables of [state.tables, ...[...userSpaces.keys()].map((space) => space.tables)]) {
    for (const { start, end } of tables.owed.ranges()) {
      findings.add(`a flush of ${formatRange(start, end)} is owed, which nobody has settled`);
    }
  }
  for (const { start, end } of state.flushing.unflushed?.forgotten ?? []) {
    findings.add(
      `${formatRange(start, end)} was unmapped in a used-up vmap block, and vm_unmap_aliases returned without a flush of it: TLBs may hold stale entries`,
    );
  }
  const kernelWalk = verifyPageTables(state.tables, "kernel page tables", findings, isZero);
  verifyMappings(state, census, blockOf, kernelWalk.leaves, findings);
  verifyExecmem(state, census, findings);
  verifyTlbs(state, census, blockOf, findings);
  const userWalks = [...userSpaces].map(([{ tables, userRootFrame }, name]) => {
    const walk = verifyPageTables(tables, name, findings, isZero, state.tables.rootFrame);
    if (userRootFrame === 0) return walk;
    return { ...walk, tables: [...walk.tables, { frame: userRootFrame, level: tables.levels, la: 0 }] };
  });
  verifyFrames(state, census, [kernelWalk, ...userWalks], findings);
  verifySlabs(state.slabs, findings);
  return findings.result();
}

/** Page tables for user addresses, by how findings call them: those of processes, and others, each once. */
function userSpacesOf({ mm }: Vmalloc, others: readonly UserSpaceTables[]): Map<UserSpaceTables, string> {
  const mms = mm.userSpaces instanceof UserSpaces ? mm.userSpaces.mms : [];
  const spaces = new Map<UserSpaceTables, string>();
  for (const space of mms) spaces.set(space, `user address space ${space.ctxId}`);
  for (const [i, space] of others.entries()) if (!spaces.has(space)) spaces.set(space, `other page tables ${i}`);
  return spaces;
}

/** Nobody holds a lock while no call is under way. */
function verifyLocks(state: Vmalloc, findings: Findings): void {
  const { blocks } = state;
  const locks = [
    state.freeTreeLock,
    state.purgeLock,
    ...state.nodes.flatMap((node) => [node.busyLock, node.lazyLock, node.poolLock]),
    ...blocks.queueLocks,
    ...blocks.locks.filter((lock) => lock !== undefined),
  ];
  for (const lock of locks) if (lock.isHeld) findings.add(`${lock.name} is held, although no call is under way`);
}
