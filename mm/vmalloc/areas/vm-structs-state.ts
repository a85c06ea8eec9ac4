/** vm_structs and the frames of their areas, for saved states. */
import { checkState } from "../../../arch/isa/state-error.ts";
import type { KmemCaches } from "../../slab/kmem-caches.ts";
import type { PageArrays } from "./page-arrays.ts";
import type { VmStructs } from "./vm-structs.ts";

/** A row a vm_struct; its address and size are those of its area. */
export interface VmStructsState {
  /** `VM_*`. */
  readonly flags: Int32Array;
  readonly requestedSizeBytes: Float64Array;
  /** Physical address that an `ioremap` area maps, else 0. */
  readonly physAddr: Float64Array;
  /** Which of `callers` made it. */
  readonly caller: Uint32Array;
  readonly callers: readonly string[];
  /** log2 of the pages of a block of its frames. */
  readonly pageOrder: Uint8Array;
  /** Whether all frames are of one zone, as far as is known. */
  readonly oneZone: Uint8Array;
  /** Where its array of page pointers is in vmalloc space; 0 for nowhere. */
  readonly pagesAddr: Float64Array;
  /** Whether it has an array of frames, and how many frames are in that. */
  readonly hasArray: Uint8Array;
  readonly pages: Uint32Array;
  /** The frames of all, one array after the other. */
  readonly frames: Uint32Array;
  /** vm_structs that are in use although no area has them. */
  readonly lost: number;
  /** Its object of its slab cache, and that of its array of page pointers; 0 for none, absent in older files. */
  readonly object?: Int32Array | undefined;
  readonly arrayObject?: Int32Array | undefined;
}

/** Copies the vm_structs `numbers`, which are those of all busy areas that have one. */
export function captureVmStructs(vms: VmStructs, arrays: PageArrays, numbers: readonly number[]): VmStructsState {
  const callers = [...new Set(numbers.map((vm) => vms.callerOf(vm)))];
  const hasObjects = numbers.some((vm) => vms.objectOf(vm) !== 0 || vms.arrayObjectOf(vm) !== 0);
  const callerRows = new Map(callers.map((caller, i) => [caller, i]));
  const pages = Uint32Array.from(numbers, (vm) => (vms.pages[2 * vm] === 0 ? 0 : vms.nrPages[2 * vm]));
  const frames = new Uint32Array(pages.reduce((sum, count) => sum + count, 0));
  let at = 0;
  numbers.forEach((vm, row) => {
    frames.set(arrays.frames.subarray(vms.pages[2 * vm], vms.pages[2 * vm] + pages[row]), at);
    at += pages[row];
  });
  return {
    flags: Int32Array.from(numbers, (vm) => vms.flags[2 * vm]),
    requestedSizeBytes: Float64Array.from(numbers, (vm) => vms.requestedSizeBytes[vm]),
    physAddr: Float64Array.from(numbers, (vm) => vms.physAddr[vm]),
    caller: Uint32Array.from(numbers, (vm) => callerRows.get(vms.callerOf(vm)) ?? 0),
    callers,
    pageOrder: Uint8Array.from(numbers, (vm) => vms.pageOrderOf(vm)),
    oneZone: Uint8Array.from(numbers, (vm) => (vms.isOfOneZone(vm) ? 1 : 0)),
    pagesAddr: Float64Array.from(numbers, (vm) => vms.pagesAddrOf(vm)),
    ...(hasObjects ? { object: Int32Array.from(numbers, (vm) => vms.objectOf(vm)) } : {}),
    ...(hasObjects ? { arrayObject: Int32Array.from(numbers, (vm) => vms.arrayObjectOf(vm)) } : {}),
    hasArray: Uint8Array.from(numbers, (vm) => (vms.pages[2 * vm] !== 0 ? 1 : 0)),
    pages,
    frames,
    lost: vms.liveCount - numbers.length,
  };
}

/**
 * Makes the vm_structs of a captured state anew, all but their frames.
 * @returns their numbers, by row
 * @throws StateError for a caller that there is not
 */
export function restoreVmStructs(vms: VmStructs, state: VmStructsState): Uint32Array {
  const numbers = new Uint32Array(state.flags.length);
  for (let row = 0; row < numbers.length; row++) {
    const caller = state.callers[state.caller[row]];
    checkState("vm_structs", caller !== undefined, `name no caller ${state.caller[row]}`);
    const vm = vms.make(state.flags[row], state.requestedSizeBytes[row], caller);
    vms.physAddr[vm] = state.physAddr[row];
    const object = state.object?.[row] ?? 0;
    checkState("vm_structs", object === 0 || vms.cache?.hasObject(object) === true, `name the object ${object}`);
    vms.setObject(vm, object);
    vms.setPageOrder(vm, state.pageOrder[row]);
    if (state.oneZone[row] !== 0) vms.setOfOneZone(vm);
    if (state.pagesAddr[row] !== 0) vms.setPagesAddr(vm, state.pagesAddr[row]);
    numbers[row] = vm;
  }
  for (let i = 0; i < state.lost; i++) vms.make(0, 0, "");
  return numbers;
}

/**
 * Gives the vm_structs `numbers`, whose areas are in place by now, their frames.
 * @throws StateError when a frame is missing, or there are more than their areas have room for
 */
export function restoreFramesOfAreas(
  vms: VmStructs,
  arrays: PageArrays,
  slabs: KmemCaches,
  state: VmStructsState,
  numbers: Uint32Array,
): void {
  let at = 0;
  for (let row = 0; row < numbers.length; row++) {
    const [vm, pages] = [numbers[row], state.pages[row]];
    if (state.hasArray[row] === 0) continue;
    const room = vms.arrayLength(vm);
    checkState("vm_structs", pages <= room, `have ${pages} frames in an area with room for ${room}`);
    const offset = arrays.take(room);
    arrays.frames.set(state.frames.subarray(at, at + pages), offset);
    vms.pages[2 * vm] = offset;
    const object = state.arrayObject?.[row] ?? 0;
    checkState(
      "vm_structs",
      object === 0 || slabs.pageArrayCache(room)?.hasObject(object) === true,
      `name the array ${object}`,
    );
    vms.setArrayObject(vm, object);
    vms.nrPages[2 * vm] = pages;
    at += pages;
  }
  checkState("vm_structs", at === state.frames.length, `have ${at} frames, not ${state.frames.length}`);
}
