/**
 * Probes on calls: what kprobes and kretprobes on the same functions of a kernel see. An observer is told when a call of
 * vmalloc's interface, a flush, a purge or a change of address space begins and when it ends; calls within calls too. Absent, it costs one
 * null check a call.
 */

import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterCall, type Blocking, ready, wait } from "./blocking.ts";

/** The calls that are probed; `views/call-definitions.ts` has the kernel's functions and the arguments of each. */
export type CallName =
  | "vmalloc"
  | "vmap"
  | "vm_map_ram"
  | "vm_unmap_ram"
  | "vfree"
  | "vunmap"
  | "vrealloc"
  | "ioremap"
  | "iounmap"
  | "vm_unmap_aliases"
  | "drain"
  | "purge"
  | "flush_tlb_kernel_range"
  | "flush_tlb_all"
  | "cpa_flush"
  | SetMemoryCall
  | "mmap"
  | "munmap"
  | "flush_tlb_mm_range"
  | "switch_mm"
  | "lazy_tlb";

/** The calls that change rights of kernel pages. */
export type SetMemoryCall = "set_memory_ro" | "set_memory_rw" | "set_memory_x" | "set_memory_nx" | "set_memory_rox";

/** An argument: a number, an address of 48 bits, or a symbol's name. */
export type CallArgument = number | string;

/** Sees calls. */
export interface CallProbes {
  /** A call begins on the current CPU; `args` in the order of its definition. */
  enter(call: CallName, args: readonly CallArgument[]): void;
  /**
   * It ends.
   * @param result the address that it returns; 0 for none
   * @param caller the function that made the call, where it is known
   */
  exit(call: CallName, result: number, caller?: string): void;
}

/** Makes a call between its two probes. */
export function probed<T>(
  probes: CallProbes,
  name: CallName,
  args: readonly CallArgument[],
  call: () => Blocking<T>,
): Blocking<T> {
  probes.enter(name, args);
  return afterCall(call(), leave<T>, probes, name);
}

function leave<T>(result: T, probes: CallProbes, name: CallName): Blocking<T> {
  probes.exit(name, typeof result === "number" ? result : 0);
  return ready(result as number | undefined) as unknown as Blocking<T>;
}

/** As `probed`, for a call that is code; it begins when the code does. */
export function* probedCode<T>(
  probes: CallProbes,
  name: CallName,
  args: readonly CallArgument[],
  code: KernelCode<T>,
): KernelCode<T> {
  probes.enter(name, args);
  const result = yield* wait(code);
  probes.exit(name, typeof result === "number" ? result : 0);
  return result;
}
