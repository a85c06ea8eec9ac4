/** Allocating and freeing areas, event by event. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { VMALLOC_END, VMALLOC_START } from "../../../mm/index.ts";
import { setupVmallocVm } from "../../../mm/vmalloc/alloc-vmap-area.ts";
import { VM_ALLOC } from "../../../mm/vmalloc/areas/vm-structs.ts";
import { decodeVnId, encodeVnId, sizeToVaPool, type VmapNode } from "../../../mm/vmalloc/areas/vmap-node.ts";
import { replayedCaller } from "../final-state.ts";
import { addressOf, type FollowedEvent, numberOf } from "./followed-event.ts";
import { type Following, hex, isMapped } from "./following.ts";
import { endFree } from "./lazy-count.ts";

const VA_KIND_MASK = 0xff;

/** An area was found, or no room: the free tree decides the address, unless a pool has given the area. */
export function followAlloc(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const [size, align] = [numberOf(event, "size"), numberOf(event, "align")];
  const [vstart, vend, told] = [addressOf(event, "vstart"), addressOf(event, "vend"), addressOf(event, "addr")];
  const isWhole = state.nodes.length > 1 && vstart === VMALLOC_START && vend === VMALLOC_END;
  const kind = numberOf(event, "va_flags") & VA_KIND_MASK;
  const pooled = following.inHand.get(told);
  following.inHand.delete(told);
  const node = event.cpu % state.nodes.length;
  const nodeFlags = isWhole ? encodeVnId(node) : 0;
  const address = pooled === undefined ? state.freeTree.__allocVmapArea(size, align, vstart, vend) : told;
  const fail = Number(address === vend);
  findings.compare(event, { addr: hex(address), size, va_flags: kind | nodeFlags, fail });
  noteFailure(following, event);
  if (address !== told && pooled === undefined) takeInstead(following, address, told, size, vend);
  if (told === vend) return;
  const area = pooled ?? state.areas.make(told, told + size);
  state.areas.setFlags(area, kind | nodeFlags);
  if (hasVm(following, told, kind)) makeVm(following, event, area);
  state.addrToNode(told).busy.insertVmapArea(area);
}

/** A search that fails purges and searches again; what fails then is given up. */
function noteFailure({ cpus }: Following, event: FollowedEvent): void {
  const { failed, again } = cpus[event.cpu];
  const search = `${event.event.size} ${event.event.vstart} ${event.event.vend}`;
  const at = again.indexOf(search);
  if (at >= 0) again.splice(at, 1);
  else if (numberOf(event, "fail") === 1) failed.push(search);
}

/** Takes the recorded address in place of the one that was found, so that what follows can be compared. */
function takeInstead({ state }: Following, found: number, told: number, size: number, vend: number): void {
  const { freeTree, areas } = state;
  if (found !== vend) freeTree.mergeOrAddVmapArea(areas.make(found, found + size));
  if (told === vend) return;
  const gap = freeTree.pvmFindVaEncloseAddr(told);
  if (gap !== 0 && areas.startOf(gap) <= told && told + size <= areas.endOf(gap)) freeTree.vaClip(gap, told, size);
}

/** Whether the area at an address has a vm_struct: without flags of areas, what is there at the end tells. */
function hasVm({ state, busyAtEnd }: Following, start: number, kind: number): boolean {
  if (state.version.areaFlagsMask !== 0) return kind === 0;
  return busyAtEnd.get(start)?.vm !== null;
}

/** Gives an area its vm_struct: as the call under way says, or else as it is at the end. */
function makeVm(following: Following, event: FollowedEvent, area: number): void {
  const { state, call, callAreas, busyAtEnd, callerAtEnd } = following;
  const start = state.areas.startOf(area);
  const atEnd = busyAtEnd.get(start)?.vm ?? null;
  let [flags, size, caller, order] = [
    atEnd?.flags ?? VM_ALLOC,
    atEnd?.requestedSizeBytes ?? 1,
    "",
    atEnd?.pageOrder ?? 0,
  ];
  const isOfCall = event.isCaller && call !== null && (call.call === "vmalloc" || call.call === "vzalloc");
  if (isOfCall && callAreas.length < 2) {
    flags = VM_ALLOC;
    order = 0;
    size = callAreas.length === 0 ? call.size : 8 * Math.ceil(call.size / PAGE_SIZE);
    caller = replayedCaller(call.call);
    if (callAreas.length === 1) state.vms.setPagesAddr(state.areas.vmOf(callAreas[0]), start);
  } else {
    caller = callerAtEnd.get(start) ?? "";
  }
  const vm = state.vms.make(flags, size, caller);
  state.vms.setPageOrder(vm, order);
  setupVmallocVm(state, vm, area);
  if (event.isCaller) callAreas.push(area);
}

/** An area went to a lazy list. */
export function followFree(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { areas, config, version } = state;
  const address = addressOf(event, "addr");
  const early = following.cpus[event.cpu].freeing?.early ?? null;
  const area = early?.start === address ? 0 : state.addrToNode(address).busy.findStart(address);
  if (area === 0 && early?.start !== address) {
    findings.mismatch(event, "no area in use begins there");
    return;
  }
  const node = area === 0 ? state.nodes[early?.node ?? 0] : lazyNodeOf(following, area);
  const end = area === 0 ? (early?.end ?? 0) : areas.endOf(area);
  if (isMapped(following, address, end)) findings.mismatch(event, "its pages are still mapped");
  const flags = (area === 0 ? (early?.flags ?? 0) : areas.flagsOf(area)) & version.areaFlagsMask;
  const lazyNr = endFree(following, event, (end - address) / PAGE_SIZE);
  const lazyMax = config.lazyMaxPages;
  findings.compare(event, { end: hex(end), lazy_nr: lazyNr, lazy_max: lazyMax, va_flags: flags, node: node.id });
  if (area !== 0) moveToLazy(following, area, node);
  if (event.isCaller) following.callFreed.push(address);
  if (lazyNr > lazyMax) {
    const fields = { lazy_nr: lazyNr, lazy_max: lazyMax };
    following.cpus[event.cpu].due.push({ ev: "drain_sched", fields, start: 0, end: 0 });
  }
}

/** Takes an area out of use and puts it on a lazy list. */
export function moveToLazy({ state }: Following, area: number, node: VmapNode): void {
  const { areas, vms } = state;
  state.addrToNode(areas.startOf(area)).busy.unlinkVa(area);
  const vm = areas.vmOf(area);
  areas.setVm(area, 0);
  if (vm !== 0) vms.release(vm);
  node.lazy.insertVmapArea(area);
}

/** The node whose lazy list an area goes to. */
export function lazyNodeOf({ state }: Following, area: number): VmapNode {
  const id = decodeVnId(state.areas.flagsOf(area));
  return id >= 0 && id < state.nodes.length ? state.nodes[id] : state.addrToNode(state.areas.startOf(area));
}

/** The head of a pool was taken. */
export function followPoolDel(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { areas } = state;
  const node = state.nodes[numberOf(event, "node")];
  const [start, end] = [addressOf(event, "start"), addressOf(event, "end")];
  const pool = sizeToVaPool(end - start);
  const head = areas.nextOf(node.poolHead(pool));
  if (areas.listIsEmpty(node.poolHead(pool)) || areas.startOf(head) !== start) {
    const shown = areas.listIsEmpty(node.poolHead(pool))
      ? "the pool is empty"
      : `its head is ${hex(areas.startOf(head))}`;
    findings.mismatch(event, shown);
    return;
  }
  areas.listRemove(head);
  const length = node.addToPoolLength(pool, -1);
  findings.compare(event, {
    node: event.cpu % state.nodes.length,
    end: hex(areas.endOf(head)),
    len: length,
  });
  following.inHand.set(start, head);
}

/** The head of a pool was not aligned as asked and went to the tail. */
export function followPoolRot(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { areas } = state;
  const node = state.nodes[numberOf(event, "node")];
  const start = addressOf(event, "start");
  const head = node.poolHead(sizeToVaPool(addressOf(event, "end") - start));
  const area = areas.nextOf(head);
  if (areas.listIsEmpty(head) || areas.startOf(area) !== start || start % numberOf(event, "align") === 0) {
    findings.mismatch(event, "that is not a misaligned head of the pool");
    return;
  }
  areas.listRemove(area);
  areas.listAddBefore(area, head);
}
