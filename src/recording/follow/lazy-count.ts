/**
 * The count of lazily freed pages, where several CPUs change it at once. A CPU adds its pages in one step and tells of it in a later one;
 * a purge subtracts without telling. What an event shows is right if such steps, done and not yet told, explain it.
 */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { type FollowedEvent, numberOf } from "./followed-event.ts";
import type { CpuState, Following } from "./following.ts";

/** More of them at once than CPUs of a recording would have. */
const STEPS_MAX = 10;

/** A CPU has unmapped an area: it adds them to the count before it tells of the free. */
export function beginFree({ state, cpus }: Following, cpu: number, area: number): void {
  const pages = (state.areas.endOf(area) - state.areas.startOf(area)) / PAGE_SIZE;
  cpus[cpu].freeing = { area, pages, isAdded: false, counts: [state.lazyNr], early: null };
}

/** Changes the count, which CPUs that are freeing may see. */
export function changeLazyNr({ state, cpus }: Following, pages: number): void {
  state.lazyNr += pages;
  for (const { freeing } of cpus) freeing?.counts.push(state.lazyNr);
}

/** A CPU tells that it has freed `pages` pages: the count that it must show. */
export function endFree(following: Following, event: FollowedEvent, pages: number): number {
  const { state, cpus } = following;
  const { freeing } = cpus[event.cpu];
  cpus[event.cpu].freeing = null;
  const told = numberOf(event, "lazy_nr");
  if (freeing?.isAdded === true) {
    return freeing.counts.some((count) => count + pages === told) ? told : state.lazyNr;
  }
  changeLazyNr(following, pages);
  if (told !== state.lazyNr && freeing?.counts.some((count) => count + pages === told)) return told;
  return explained(following, event, told);
}

/** The count that an event must show. */
export function lazyNrAt(following: Following, event: FollowedEvent): number {
  return explained(following, event, numberOf(event, "lazy_nr"));
}

/** `told` if it is the count with steps that were done and not told; they have been seen then. Otherwise the count. */
function explained(following: Following, event: FollowedEvent, told: number): number {
  const { state, cpus, purge } = following;
  const missing = told - state.lazyNr;
  if (missing === 0) return told;
  const freeing = cpus.filter((cpu, i) => i !== event.cpu && cpu.freeing !== null && !cpu.freeing.isAdded);
  const subtracted = purge === null || purge.cpu === event.cpu ? [] : [...purge.uncertainPages];
  const steps: (CpuState | number)[] = [...freeing, ...subtracted].slice(0, STEPS_MAX);
  for (let chosen = 1; chosen < 1 << steps.length; chosen++) {
    const some = steps.filter((_, i) => ((chosen >> i) & 1) === 1);
    const pages = some.reduce<number>(
      (sum, step) => sum + (typeof step === "number" ? step : (step.freeing?.pages ?? 0)),
      0,
    );
    if (pages !== missing) continue;
    for (const step of some) {
      if (typeof step === "number" || step.freeing === null) continue;
      step.freeing.isAdded = true;
      changeLazyNr(following, step.freeing.pages);
    }
    return told;
  }
  return state.lazyNr;
}
