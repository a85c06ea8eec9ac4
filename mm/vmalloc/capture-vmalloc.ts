/** The whole state of vmalloc as plain data, for saved states: areas, vm_structs, blocks, locks and what is put off. */
import { checkState, StateError } from "../../arch/isa/state-error.ts";
import type { Thread } from "../../arch/time/event-loop.ts";
import { captureLocks, type LocksState, restoreLocks } from "../kernel/locks-state.ts";
import type { Work } from "../kernel/work.ts";
import { type AreaNumbers, type AreasState, captureAreas, restoreAreas } from "./areas/areas-state.ts";
import {
  captureVmStructs,
  restoreFramesOfAreas,
  restoreVmStructs,
  type VmStructsState,
} from "./areas/vm-structs-state.ts";
import { captureVmapBlocks, restoreVmapBlocks, type VmapBlocksState } from "./areas/vmap-blocks-state.ts";
import { execmemCacheOf } from "./execmem-cache.ts";
import { captureExecmem, type ExecmemState, restoreExecmem } from "./execmem-state.ts";
import { deferredOf } from "./vfree.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

const DRAIN_WORK = "drain_vmap_area_work";
const KSWAPD = "kswapd0";
const DEFERRED_WORK = "delayed_vfree_work/";
const EXECMEM_CLEAN_WORK = "execmem_cache_clean_work";

/** Typed arrays and plain objects only. */
export interface VmallocState {
  /** Pages freed and not yet purged (`vmap_lazy_nr`), and pages that areas hold (`nr_vmalloc_pages`). */
  readonly lazyNr: number;
  readonly nrVmallocPages: number;
  /** Purges so far, and how many of them found something. */
  readonly purges: number;
  readonly purgesWithAreas: number;
  readonly areas: AreasState;
  readonly vmStructs: VmStructsState;
  readonly blocks: VmapBlocksState;
  /** `free_vmap_area_lock`, `vmap_purge_lock`, then for each node those of its busy and lazy areas and of its pools. */
  readonly locks: LocksState;
  /** The cache of executable memory; absent where there is none, or it was never used. */
  readonly execmem?: ExecmemState | undefined;
  /** Addresses that `vfree_atomic` has put off, the latest last. */
  readonly deferredFrees: readonly { readonly cpu: number; readonly addresses: readonly number[] }[];
}

/**
 * Copies the state of vmalloc. Observers are no part of it.
 * @throws StateError when a call is under way, a purge notifier is registered, which is a function, or executable memory waits to be freed
 */
export function captureVmalloc(state: Vmalloc): VmallocState {
  const { areas, vms, pageArrays, blocks, flushing, purgeNotifiers } = state;
  checkState("allocation that failed", state.failedAreas.length === 0, "is still to be freed by its work item");
  const forgotten = flushing.unflushed?.forgotten.length ?? 0;
  checkState(
    "vm_unmap_aliases",
    forgotten === 0,
    `has left ${forgotten} ranges stale, which a saved state does not hold`,
  );
  checkState("vmap purge notifier", purgeNotifiers.length === 0, "is registered, which is a function of the program");
  const vmNumbers: number[] = [];
  const captured = captureAreas(
    areas,
    state.freeTree,
    state.neFitPreload,
    state.nodes,
    (address) => state.addrToNode(address),
    {
      vmRow: (vm) => (vm === 0 ? 0 : vmNumbers.push(vm)),
      freedRow: (area) => (flushing.accounts?.frees.waitingOf(area) ?? -1) + 1,
    },
  );
  for (const { id, purgeList } of state.nodes) {
    if (!areas.listIsEmpty(purgeList)) throw new StateError(`vmap node ${id}`, "is being purged");
  }
  const busyRows = new Map(Array.from(captured.numbers.busy, (area, row) => [area, row]));
  const { lazyNr, nrVmallocPages, purges, purgesWithAreas } = state;
  return {
    lazyNr,
    nrVmallocPages,
    purges,
    purgesWithAreas,
    areas: captured.state,
    vmStructs: captureVmStructs(vms, pageArrays, vmNumbers),
    blocks: captureVmapBlocks(blocks, (area) => busyRows.get(area) ?? 0),
    locks: captureLocks(locksOf(state)),
    ...(state.execmem === null ? {} : { execmem: captureExecmem(state.execmem) }),
    deferredFrees: state.deferredFrees.flatMap((deferred, cpu) =>
      deferred === undefined || deferred.addresses.length === 0 ? [] : [{ cpu, addresses: [...deferred.addresses] }],
    ),
  };
}

/**
 * Brings a vmalloc that has just been made, with the same configuration, into a captured state. The accounts of flushes, if there
 * are any, have been restored before.
 * @throws StateError when the state is that of another vmalloc
 */
export function restoreVmallocState(state: Vmalloc, saved: VmallocState): void {
  const { areas, vms, pageArrays } = state;
  const vmNumbers = restoreVmStructs(vms, saved.vmStructs);
  const numbers = restoreAreas(areas, state.freeTree, state.neFitPreload, state.nodes, saved.areas, vmNumbers);
  for (const area of numbers.busy) {
    const vm = areas.vmOf(area);
    if (vm === 0) continue;
    vms.addr[vm] = areas.startOf(area);
    vms.sizeBytes[vm] = areas.sizeBytes(area);
  }
  restoreFramesOfAreas(vms, pageArrays, state.slabs, saved.vmStructs, vmNumbers);
  restoreVmapBlocks(state.blocks, state.slabs, saved.blocks, numbers.busy, (area) => areas.startOf(area));
  restoreWaitingFrees(state, saved, numbers);
  restoreLocks(locksOf(state), saved.locks);
  if (saved.execmem !== undefined) restoreExecmem(execmemCacheOf(state), saved.execmem);
  for (const { cpu, addresses } of saved.deferredFrees) deferredOf(state, cpu).addresses.push(...addresses);
  state.lazyNr = saved.lazyNr;
  state.nrVmallocPages = saved.nrVmallocPages;
  state.purges = saved.purges;
  state.purgesWithAreas = saved.purgesWithAreas;
}

/** What a queued work item of vmalloc's is called in a saved state; null for a thread that is none. */
export function vmallocWorkOf(state: Vmalloc, thread: Thread): string | null {
  const isOf = (work: Work | null | undefined) => work?.queuedThread === thread;
  if (isOf(state.drainWork)) return DRAIN_WORK;
  if (isOf(state.execmem?.cleanWork)) return EXECMEM_CLEAN_WORK;
  if (state.mm.reclaim.isKswapdQueued && isOf(state.mm.reclaim.kswapdWork)) return KSWAPD;
  const cpu = state.deferredFrees.findIndex((deferred) => isOf(deferred?.work));
  return cpu < 0 ? null : `${DEFERRED_WORK}${cpu}`;
}

/**
 * Queues the work of that name on a CPU.
 * @returns its thread
 * @throws StateError when there is no such work, or it is queued already
 */
export function queueVmallocWork(state: Vmalloc, name: string, cpu: number): Thread {
  const number = name.startsWith(DEFERRED_WORK) ? Number(name.slice(DEFERRED_WORK.length)) : Number.NaN;
  const isOfCpu = Number.isInteger(number) && number >= 0 && number < state.loop.cpus;
  const work = isOfCpu ? deferredOf(state, number).work : workByName(state, name);
  work?.scheduleOn(cpu);
  const thread = work?.queuedThread ?? null;
  if (thread === null) throw new StateError("queued work", `there is no "${name}"`);
  return thread;
}

function workByName(state: Vmalloc, name: string): Work | null {
  if (name === DRAIN_WORK) return state.drainWork;
  if (name === KSWAPD) return state.mm.reclaim.kswapdWork;
  return name === EXECMEM_CLEAN_WORK && state.version.hasExecmemCache ? execmemCacheOf(state).cleanWork : null;
}

/** Every lock of vmalloc's but those of blocks. */
function locksOf({ freeTreeLock, purgeLock, nodes }: Vmalloc) {
  return [freeTreeLock, purgeLock, ...nodes.flatMap((node) => [node.busyLock, node.lazyLock, node.poolLock])];
}

function restoreWaitingFrees({ flushing }: Vmalloc, saved: VmallocState, numbers: AreaNumbers): void {
  const { freed } = saved.areas.lazy;
  const { accounts } = flushing;
  freed.forEach((row, i) => {
    if (row === 0) return;
    checkState("accounts", row <= (accounts?.frees.length ?? 0), `have no free ${row - 1}`);
    accounts?.frees.setWaiting(numbers.lazy[i], row - 1);
  });
}
