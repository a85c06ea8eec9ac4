/** What a recording says was there before it began: areas in use, each at its place, and pages that were lazily freed. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import {
  type AddressRange,
  allocVmapArea,
  findUnlinkVmapArea,
  freeUnmapVmapArea,
  GFP_KERNEL,
  VMALLOC_END,
  VMALLOC_REQUEST,
  wait,
} from "../../mm/index.ts";
import { __vmallocNodeRange } from "../../mm/vmalloc/vmalloc.ts";
import type { Kernel } from "../machine/kernel.ts";
import type { FtraceSurvey } from "./ftrace-survey.ts";
import { startsThere } from "./ftrace-windows.ts";
import type { InitialArea } from "./record-notes.ts";
import type { TracedCalls } from "./traced-calls.ts";

/** Part of the vmalloc range, at its end, where lazily freed pages lie whose place is not known. */
const LAZY_WINDOW_BYTES = 2 ** 40;

/**
 * Makes them before the trace begins.
 * @param here gives the place of a traced address
 * @returns how many areas, and lazily freed pages, there are
 */
export function makeInitialAreas(
  kernel: Kernel,
  survey: FtraceSurvey,
  traced: TracedCalls,
  here: (address: bigint) => number,
): { readonly areas: number; readonly lazyPages: number } {
  let areas = 0;
  for (const area of survey.notes.areas) {
    const start = here(area.start);
    const range = { start, end: start + area.sizeBytes };
    if (area.isLazy) {
      kernel.run(freeThere(kernel, range));
      continue;
    }
    const hasPages = area.pages > 0 && area.pages === area.sizeBytes / PAGE_SIZE - 1;
    const address = hasPages ? populate(kernel, area, range) : kernel.run(reserve(kernel, range));
    if (address === 0) continue;
    const allocation = traced.addInitial(area.start, area.sizeBytes, !hasPages);
    allocation.address = address;
    allocation.isMade = true;
    areas++;
  }
  const isKnown = survey.notes.areas.length > 0;
  if (!isKnown && survey.lazyPagesAtStart > 0) {
    const start = VMALLOC_END + 1 - LAZY_WINDOW_BYTES;
    kernel.run(freeThere(kernel, { start, end: start + survey.lazyPagesAtStart * PAGE_SIZE }));
  }
  return { areas, lazyPages: kernel.vm.lazyNr };
}

/** An area with pages of its own, as vmalloc makes it; its address, or 0. */
function populate(kernel: Kernel, { sizeBytes, caller }: InitialArea, range: AddressRange): number {
  const request = { ...VMALLOC_REQUEST, align: PAGE_SIZE, range };
  return kernel.run(() => __vmallocNodeRange(kernel.vm, sizeBytes - PAGE_SIZE, request, caller));
}

/** Address space alone; its address, or 0. */
function* reserve({ vm }: Kernel, range: AddressRange): KernelCode<number> {
  const request = { align: PAGE_SIZE, range, gfp: GFP_KERNEL };
  const area = yield* wait(allocVmapArea(vm, range.end - range.start, request, 0, 0));
  return area < 0 ? 0 : vm.areas.startOf(area);
}

function* freeThere(kernel: Kernel, range: AddressRange): KernelCode<void> {
  const address = yield* reserve(kernel, range);
  if (address === 0) return;
  const area = yield* wait(findUnlinkVmapArea(kernel.vm, address, startsThere));
  if (area !== 0) yield* wait(freeUnmapVmapArea(kernel.vm, area));
}
