/** Memory for code that the kernel loads or writes: modules, kprobes, ftrace, BPF (`mm/execmem.c`, `execmem_arch_setup` of x86). */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { type Blocking, wait } from "../kernel/blocking.ts";
import { alignUp } from "../lib/align.ts";
import { VM_FLUSH_RESET_PERMS } from "./areas/vm-structs.ts";
import { EXECMEM_REQUEST, execmemCacheAlloc, execmemCacheFree, execmemForceRw } from "./execmem-cache.ts";
import { vfree } from "./vfree.ts";
import { __vmallocNodeRange } from "./vmalloc.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Who asks (`enum execmem_type`). */
export type ExecmemType = "module text" | "kprobes" | "ftrace" | "BPF" | "module data";

/** Those that x86 serves from the cache of executable memory, where the kernel has one (`EXECMEM_ROX_CACHE`). */
const OF_CACHE: ReadonlySet<ExecmemType> = new Set(["module text", "kprobes", "ftrace"]);
/** What `/proc/vmallocinfo` of kernels with a cache shows of all executable memory. */
const CALLER = "execmem_alloc+0x0/0x0";

/** Whether memory of this type comes read-only and executable, from the cache (`execmem_is_rox`). */
export function execmemIsRox(state: Vmalloc, type: ExecmemType): boolean {
  return state.version.hasExecmemCache && OF_CACHE.has(type);
}

/**
 * Memory in the modules' range: from the cache where the kernel has one for this type, else an area by itself, writable and not executable.
 * @param caller what kernels without a cache show in `/proc/vmallocinfo`; others show `execmem_alloc`
 * @returns its address, or 0
 */
export function execmemAlloc(
  state: Vmalloc,
  type: ExecmemType,
  sizeBytes: number,
  caller: string = CALLER,
): Blocking<number> {
  const size = alignUp(sizeBytes, PAGE_SIZE);
  if (execmemIsRox(state, type)) return execmemCacheAlloc(state, size, CALLER);
  const shown = state.version.hasExecmemCache ? CALLER : caller;
  return __vmallocNodeRange(state, size, { ...EXECMEM_REQUEST, flags: VM_FLUSH_RESET_PERMS }, shown);
}

/**
 * Memory in the modules' range that may be written (`execmem_alloc_rw`). Kernels with a cache make it writable whatever it is; the caller
 * makes it executable.
 * @returns its address, or 0
 */
export function* execmemAllocRw(
  state: Vmalloc,
  type: ExecmemType,
  sizeBytes: number,
  caller: string = CALLER,
): KernelCode<number> {
  const address = yield* wait(execmemAlloc(state, type, sizeBytes, caller));
  if (address === 0 || !state.version.hasExecmemCache) return address;
  if ((yield* execmemForceRw(state, address, sizeBytes)) >= 0) return address;
  yield* execmemFree(state, address);
  return 0;
}

/** Gives memory back that {@link execmemAlloc} or {@link execmemAllocRw} returned. Not for interrupt handlers: it is warned of. */
export function* execmemFree(state: Vmalloc, address: number): KernelCode<void> {
  if (state.loop.currentThread === null) state.log.warnOnce("execmem_free", "execmem_free in an interrupt");
  if (!(yield* execmemCacheFree(state, address))) yield* wait(vfree(state, address));
}
