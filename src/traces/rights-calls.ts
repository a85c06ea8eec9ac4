/** Calls of a trace that change rights of kernel pages (`set_memory_ro` and its like), made on what the trace has allocated. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import {
  execmemSetDirectMapValid,
  findVmArea,
  flushTlbAll,
  type SetMemoryCall,
  setMemoryNx,
  setMemoryRo,
  setMemoryRox,
  setMemoryRw,
  setMemoryX,
  VM_FLUSH_RESET_PERMS,
  type Vmalloc,
  vmUnmapAliases,
} from "../../mm/index.ts";
import type { TracedCall } from "./traced-calls.ts";

const SET_MEMORY: Readonly<Record<SetMemoryCall, (vm: Vmalloc, address: number, pages: number) => KernelCode<number>>> =
  {
    set_memory_ro: setMemoryRo,
    set_memory_rw: setMemoryRw,
    set_memory_x: setMemoryX,
    set_memory_nx: setMemoryNx,
    set_memory_rox: setMemoryRox,
  };

/** Makes the call. Of pages that no known call has allocated, and that are not mapped here, only what every such call does: it purges and flushes. */
export function* makeRightsChange(vm: Vmalloc, { kind, args, allocation, rights }: TracedCall): KernelCode<void> {
  const isMapped = rights !== undefined && rights.endBytes <= (allocation?.pages ?? 0) * PAGE_SIZE;
  if (isMapped && allocation !== null && allocation.address !== 0) {
    const change = SET_MEMORY[kind as SetMemoryCall];
    yield* change(vm, allocation.address + rights.startBytes, Number(args.get("pages") ?? 0n));
  } else {
    yield* vmUnmapAliases(vm);
    yield* flushTlbAll(vm.flushing, "set_memory");
  }
}

/**
 * What is freed keeps no rights in the direct map: who does not have `vfree` reset them, as the cache of executable memory, makes the
 * frames writable before it frees, and no traced call says so.
 */
export function* restoreDirectMap(vm: Vmalloc, address: number): KernelCode<void> {
  const area = yield* findVmArea(vm, address);
  if (area !== 0 && (vm.vms.flags[2 * area] & VM_FLUSH_RESET_PERMS) === 0) yield* execmemSetDirectMapValid(vm, area);
}
