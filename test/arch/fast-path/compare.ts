/** What two CPUs are compared by, and whether an access took the general path. */
import type { FlushAttribution } from "../../../arch/tlb/flush-attribution.ts";
import type { ReplacementState } from "../../../arch/tlb/replacement-state.ts";
import type { Tlb } from "../../../arch/tlb/tlb.ts";
import type { Guest } from "../guest.ts";

/** Everything that later accesses can depend on: entries by slot, replacement state. */
export function hardwareState(guest: Guest): unknown {
  const { tlbs, structures } = guest.cpu.mmu;
  return [...tlbs.first, ...tlbs.second, ...structures.structures()].map(stateOf);
}

function stateOf(tlb: Tlb): unknown {
  return {
    name: tlb.name,
    entries: Array.from({ length: tlb.slots }, (_, slot) =>
      tlb.isUsed(slot)
        ? [tlb.addressOf(slot), tlb.sizeOf(slot), tlb.pcidOf(slot), tlb.frameOf(slot), tlb.flagsOf(slot)].join(" ")
        : "",
    ),
    replacement: replacementOf(tlb.replacement),
    pcids: tlb.recentPcids().slice(),
  };
}

function replacementOf(state: ReplacementState): number[] {
  const numbers = new Uint16Array(state.stateLength);
  state.capture(numbers, 0);
  return [...numbers];
}

/** Counts the translations that the general path does from now on; how many they are. */
export function countGeneral(guest: Guest): () => number {
  let count = 0;
  const { mmu } = guest.cpu;
  const [translate, fill] = [mmu.translate.bind(mmu), mmu.fill.bind(mmu)];
  mmu.translate = (...args) => {
    count++;
    translate(...args);
  };
  mmu.fill = (...args) => {
    count++;
    fill(...args);
  };
  return () => count;
}

/** Has all accesses take the general path from now on. */
export function takeGeneralPath({ cpu }: Guest): void {
  cpu.mmu.predictsHits = false;
  cpu.mmu.fastPath.guestChanged(true);
}

/** What a flush attribution knows: its TLBs, costs and notes. */
export function attributionState(attribution: FlushAttribution): unknown {
  const notes: string[] = [];
  for (const side of [0, 1] as const)
    attribution.notes.forEach(side, (...note) => notes.push(`${side} ${note.join(" ")}`));
  return {
    unflushed: attribution.unflushedTlbs().map((tlb) => stateOf(tlb)),
    costs: [...attribution.allCosts()],
    unexplained: attribution.unexplainedWalks,
    notes,
  };
}
