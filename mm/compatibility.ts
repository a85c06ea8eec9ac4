/**
 * Public calls in the forms of 0.1.0, which programs of others still use. They cost something at the public edge (`mm/index.ts`) and
 * nothing inside: code of `mm` and `src` takes the functions themselves.
 *
 * There every call was code that began when it was run: `kernel.run(vmalloc(kernel.vm, 8192))`. So a call that is made while no code of
 * the emulated kernel runs is such code here too; from inside, where it can begin, it is made at once.
 */
import type { KernelCode } from "../arch/time/event-loop.ts";
import { asCode, type Blocking } from "./kernel/blocking.ts";
import type { Protection } from "./page-tables/protection.ts";
import { vfree } from "./vmalloc/vfree.ts";
import { getVmArea, removeVmArea } from "./vmalloc/vm-area.ts";
import { vmMapRam, vmUnmapRam } from "./vmalloc/vm-map-ram.ts";
import * as calls from "./vmalloc/vmalloc.ts";
import type { Vmalloc } from "./vmalloc/vmalloc-state.ts";

/** A call that, made outside the emulated kernel's code, is code to be run. */
function runnable<A extends readonly unknown[], R>(
  call: (state: Vmalloc, ...args: A) => Blocking<R>,
): (state: Vmalloc, ...args: A) => Blocking<R> {
  return (state, ...args) => (state.loop.isRunning ? call(state, ...args) : codeOf(call, state, args));
}

/** Apart, as a function object in each of these would cost the host an allocation for each call, and the list of its arguments another. */
function codeOf<A extends readonly unknown[], R>(
  call: (state: Vmalloc, ...args: A) => Blocking<R>,
  state: Vmalloc,
  args: A,
): KernelCode<R> {
  return asCode(() => call(state, ...args));
}

const publicVfree = runnable(vfree);
const publicGetVmArea = runnable(getVmArea);
const publicRemoveVmArea = runnable(removeVmArea);
const publicVmMapRam = runnable(vmMapRam);
const publicVmUnmapRam = runnable(vmUnmapRam);

export {
  publicGetVmArea as getVmArea,
  publicRemoveVmArea as removeVmArea,
  publicVfree as vfree,
  publicVmMapRam as vmMapRam,
  publicVmUnmapRam as vmUnmapRam,
};

/** `vmalloc`: whole pages for `sizeBytes`, contiguous in address space; the address, or 0. */
export const vmalloc = runnable(calls.vmalloc);
/** `vzalloc`: {@link vmalloc} of zeroed memory. */
export const vzalloc = runnable(calls.vzalloc);
/** `vmalloc_node`: {@link vmalloc} with memory of a NUMA node, if it has some. */
export const vmallocNode = runnable(calls.vmallocNode);
/** `vzalloc_node`: {@link vmallocNode} of zeroed memory. */
export const vzallocNode = runnable(calls.vzallocNode);
/** `__vmalloc`: {@link vmalloc} with allocation flags (`GFP_*`). */
export const __vmalloc = runnable(calls.__vmalloc);
/** `__vmalloc_node`: with an alignment, allocation flags and a NUMA node; the address, or 0. */
export const __vmallocNode = runnable(calls.__vmallocNode);
/** `vmalloc_huge`: mapped with pages of 2 MiB where it is large enough; the address, or 0. */
export const vmallocHuge = runnable(calls.vmallocHuge);
/** `vmalloc_user`: zeroed memory that may be mapped to user mode; the address, or 0. */
export const vmallocUser = runnable(calls.vmallocUser);
/** `vmalloc_32`: memory below 4 GiB; the address, or 0. */
export const vmalloc32 = runnable(calls.vmalloc32);
/** `vmalloc_32_user`: {@link vmallocUser} of memory below 4 GiB. */
export const vmalloc32User = runnable(calls.vmalloc32User);

/** `__vmalloc_node_range` with what is asked for in one object, made from `VMALLOC_REQUEST`. */
export function __vmallocNodeRange(
  state: Vmalloc,
  sizeBytes: number,
  request: calls.VmallocRequest,
  caller?: string,
): Blocking<number>;
/**
 * `__vmalloc_node_range` with Linux's own arguments in their order, as code to be run.
 * @deprecated the form of 0.1.0; `{ ...VMALLOC_REQUEST, align, range: { start, end } }` says the same
 */
export function __vmallocNodeRange(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  start: number,
  end: number,
  gfp: number,
  protection: Protection,
  flags: number,
  node: number,
  caller?: string,
): KernelCode<number>;
export function __vmallocNodeRange(
  state: Vmalloc,
  sizeBytes: number,
  requestOrAlign: calls.VmallocRequest | number,
  callerOrStart?: string | number,
  ...rest: readonly unknown[]
): Blocking<number> {
  if (typeof requestOrAlign !== "number") {
    const caller = callerOrStart as string | undefined;
    const call = () => calls.__vmallocNodeRange(state, sizeBytes, requestOrAlign, caller);
    return state.loop.isRunning ? call() : asCode(call);
  }
  const [end, gfp, protection, flags, node, caller] = rest as readonly [
    number,
    number,
    Protection,
    number,
    number,
    string?,
  ];
  const range = { start: callerOrStart as number, end };
  const request = { align: requestOrAlign, range, gfp, protection, flags, node };
  return asCode(() => calls.__vmallocNodeRange(state, sizeBytes, request, caller));
}
