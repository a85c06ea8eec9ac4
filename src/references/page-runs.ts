/**
 * Runs of references to one page. Most references of a program go to the page that the one before them went to: fetches to that of the
 * last fetch, loads and stores to that of the last load or store. What such a reference does is known without making it: it hits the
 * first level, and the use changes no replacement state, because the last use of its TLB was of the same entry.
 *
 * A run: references of one kind to one page, one after another among the fetches, or among the loads and stores, of a batch; those of
 * the other TLB may lie between. Its first reference may be anything, the second finds what the first brought: both are "run heads". If
 * the second is a predicted hit, so are those after it. `RunReplay` (run-replay.ts) makes the heads and counts the rest.
 */

import { MUST_HIT } from "../../arch/cpu/bulk-touch.ts";
import { KIND_INSTRUCTION, type ReferenceBatch } from "./reference-batch.ts";

/** TLBs: that of loads and stores (kinds 0 and 1), that of fetches (2). */
const TLBS = 2;
const KIND_MASK = 3;
/** What no page is. */
const NO_PAGE = -1;

/**
 * Adds to what a batch says of the runs in it (its run heads, how many references are none, and its instructions) those of references
 * `from` to `to - 1`. Runs end and begin at these: more run heads than there need be do no harm.
 */
export function findRuns(batch: ReferenceBatch, from: number, to: number): void {
  const { kinds, addresses, headKinds, headAddresses, headIndexes, repeats } = batch;
  // By TLB: page and kind of the last reference, and whether it is not the first of its run.
  const lastPages = new Float64Array(TLBS).fill(NO_PAGE);
  const lastIsLater = new Uint8Array(TLBS);
  const before = batch.runHeads;
  let heads = before;
  let repeatedStores = 0;
  let repeatedFetches = 0;
  let instructions = 0;
  for (let i = from; i < to; i++) {
    const kind = kinds[i] & KIND_MASK;
    const la = addresses[i];
    const tlb = kind >> 1;
    // Pages are multiples of 4096: stores have pages of their own.
    const page = la - (la & 4095) + (kind & 1);
    const isSame = page === lastPages[tlb] ? 1 : 0;
    const isRepeat = isSame & lastIsLater[tlb];
    lastPages[tlb] = page;
    lastIsLater[tlb] = isSame;
    // Written in any case, and kept if it is a head: no branch that the host's CPU cannot predict.
    headKinds[heads] = kind | (isSame * MUST_HIT);
    headAddresses[heads] = la;
    headIndexes[heads] = i;
    heads += 1 - isRepeat;
    repeatedStores += isRepeat & kind;
    repeatedFetches += isRepeat & tlb;
    // 1 for an instruction: other kinds differ from it in a bit or more.
    instructions += ((kinds[i] ^ KIND_INSTRUCTION) - 1) >>> 31;
  }
  batch.runHeads = heads;
  batch.instructions += instructions;
  repeats[0] += to - from - (heads - before) - repeatedStores - repeatedFetches;
  repeats[1] += repeatedStores;
  repeats[2] += repeatedFetches;
}
