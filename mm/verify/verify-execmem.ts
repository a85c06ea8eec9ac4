/**
 * Checks the cache of executable memory: its pieces cover its regions exactly, each region is an area of vmalloc's, and what is free is
 * read-only, executable, read-only in the direct map, and full of instructions that trap.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_RW, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } from "../../arch/memory/physical-memory.ts";
import { MODULES_RANGE } from "../lib/memory-layout.ts";
import { directMapAddress } from "../page-tables/direct-map.ts";
import { VM_FLUSH_RESET_PERMS } from "../vmalloc/areas/vm-structs.ts";
import type { ExecmemAreas } from "../vmalloc/execmem-areas.ts";
import { TRAPPING_WORD } from "../vmalloc/execmem-cache.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { address, type Findings } from "./verify-findings.ts";

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly isFree: boolean;
}

/** Checks the cache, if the kernel has used one. */
export function verifyExecmem(state: Vmalloc, census: AreaCensus, findings: Findings): void {
  const cache = state.execmem;
  if (cache === null) return;
  if (cache.mutex.isHeld) findings.add(`${cache.mutex.name} is held, although no call is under way`);
  const pieces = piecesOf(cache);
  for (const start of cache.pendingFree) {
    if (!pieces.some((piece) => piece.start === start && !piece.isFree)) {
      findings.add(`executable memory: the free of ${address(start)} is put off, where no piece in use begins`);
    }
  }
  pieces.forEach((piece, i) => {
    const before = pieces[i - 1];
    if (before !== undefined && piece.start < before.end) findings.add(`${shown(piece)} overlaps ${shown(before)}`);
    if (piece.isFree && before?.isFree === true && before.end === piece.start) {
      findings.add(`${shown(before)} and ${shown(piece)} touch and were not merged`);
    }
    if (piece.isFree) verifyFree(state, piece, findings);
  });
  verifyRegions(state, census, pieces, findings);
}

function piecesOf({ busy, free }: ExecmemAreas): Piece[] {
  const pieces: Piece[] = [];
  for (let i = 0; i < busy.count; i++) pieces.push({ start: busy.startOf(i), end: busy.endOf(i), isFree: false });
  for (let i = 0; i < free.count; i++) pieces.push({ start: free.startOf(i), end: free.endOf(i), isFree: true });
  return pieces.sort((a, b) => a.start - b.start);
}

function shown({ start, end, isFree }: Piece): string {
  return `the ${isFree ? "free " : ""}executable memory [${address(start)}, ${address(end)})${isFree ? "" : " in use"}`;
}

/** Every piece lies in a region, and those of a region cover all of it. */
function verifyRegions(
  { areas, vms }: Vmalloc,
  census: AreaCensus,
  pieces: readonly Piece[],
  findings: Findings,
): void {
  const regions = census.busy.filter((area) => areas.startOf(area) >= MODULES_RANGE.start && areas.vmOf(area) !== 0);
  let at = 0;
  for (const area of regions) {
    const [start, end] = [areas.startOf(area), areas.endOf(area)];
    while (at < pieces.length && pieces[at].end <= start) findings.add(`${shown(pieces[at++])} is in no area`);
    if (at === pieces.length || pieces[at].start >= end) continue;
    const vm = areas.vmOf(area);
    if ((vms.flags[2 * vm] & VM_FLUSH_RESET_PERMS) !== 0) {
      findings.add(`${shown(pieces[at])} is in the area at ${address(start)}, which is no region of the cache`);
    }
    let reached = start;
    for (; at < pieces.length && pieces[at].start === reached; at++) reached = pieces[at].end;
    if (reached !== start + vms.nrPages[2 * vm] * PAGE_SIZE) {
      findings.add(`the region of executable memory at ${address(start)} has no piece at ${address(reached)}`);
    }
    while (at < pieces.length && pieces[at].start < end) findings.add(`${shown(pieces[at++])} leaves a hole before it`);
  }
  for (; at < pieces.length; at++) findings.add(`${shown(pieces[at])} is in no area`);
}

/** What is free traps whoever jumps to it, and nobody may write it. */
function verifyFree({ tables }: Vmalloc, piece: Piece, findings: Findings): void {
  const { cursor, memory } = tables;
  for (let la = piece.start; la < piece.end; la += PAGE_SIZE) {
    const frame = cursor.frameAt(la);
    if (frame < 0) {
      findings.add(`${shown(piece)} is not mapped at ${address(la)}`);
      return;
    }
    const isRox = (cursor.low & PTE_RW) === 0 && (cursor.high & PTE_XD_HIGH) === 0;
    if (!isRox) findings.add(`${shown(piece)} is not read-only and executable at ${address(la)}`);
    cursor.seek(directMapAddress(frame * PAGE_SIZE));
    if (!cursor.isLeaf || cursor.isWritable) findings.add(`${shown(piece)} can be written through the direct map`);
    if (!traps(memory.chunkForRead(frame), (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT)) {
      findings.add(`${shown(piece)} holds code at ${address(la)}`);
    }
  }
}

/** Whether all words of a frame trap. A plain loop: the half million words of a region took `some` five milliseconds. */
function traps(chunk: Int32Array, first: number): boolean {
  const end = first + (1 << FRAME_WORDS_SHIFT);
  let at = first;
  while (at < end && chunk[at] === TRAPPING_WORD) at++;
  return at === end;
}
