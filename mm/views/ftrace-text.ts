/**
 * Tracepoints as ftrace prints them: `vmalloc:alloc_vmap_area`, `vmalloc:free_vmap_area_noflush`,
 * `vmalloc:purge_vmap_area_lazy` and `tlb:tlb_flush` (`include/trace/events/vmalloc.h`, `include/trace/events/tlb.h`).
 *
 * Linux raises no `tlb_flush` for `flush_tlb_kernel_range`: whoever traces a kernel does not see what vmalloc's flushes
 * cost. `showKernelFlushes` adds them: `local shootdown` on the CPU that flushes, `remote shootdown` on every other one.
 */

import { formatLinearAddress, linearAddressToBigInt, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { NO_EVENTS, type VmallocEvents } from "../kernel/vmalloc-events.ts";

/** What ftrace lines need beside the events. */
export interface FtraceOptions {
  /** Cycles in a second, for the timestamps. */
  readonly cyclesPerSecond: number;
  /** Whether kernel-range flushes appear as `tlb_flush`, which a real kernel leaves out. */
  readonly showKernelFlushes?: boolean;
}

const REASON_REMOTE_SHOOTDOWN = "remote shootdown (1)";
const REASON_LOCAL_SHOOTDOWN = "local shootdown (2)";
/** Characters of a task's name that the kernel keeps. */
const COMM_MAX = 15;
/** Number shown for the first CPU's task; tasks have no numbers of their own here. */
const FIRST_PID = 1000;

/** An observer of vmalloc that hands each tracepoint's line to `write`. */
export function ftraceText(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): VmallocEvents {
  const emit = (event: string, payload: string, cpu: number = loop.currentCpu): void => {
    const [seconds, micros] = (loop.clockCycles[cpu] / options.cyclesPerSecond).toFixed(6).split(".");
    const comm = (loop.currentThread?.name ?? "swapper").slice(0, COMM_MAX).padStart(16);
    const pid = String(FIRST_PID + cpu).padEnd(7);
    const at = `${seconds.padStart(5)}.${micros}`;
    write(`${comm}-${pid} [${String(cpu).padStart(3, "0")}] ..... ${at}: ${event}: ${payload}`);
  };
  return {
    ...NO_EVENTS,
    alloc: (addr, sizeBytes, align, vstart, vend, _flags, failed) =>
      emit(
        "alloc_vmap_area",
        `va_start: ${linearAddressToBigInt(addr)} size=${sizeBytes} align=${align} ` +
          `vstart=${formatLinearAddress(vstart)} vend=${formatLinearAddress(vend)} failed=${failed ? 1 : 0}`,
      ),
    free: (start, _end, lazyNr, lazyMax) =>
      emit("free_vmap_area_noflush", `va_start=${formatLinearAddress(start)} nr_lazy=${lazyNr} nr_lazy_max=${lazyMax}`),
    purge: (start, end, areas) =>
      emit(
        "purge_vmap_area_lazy",
        `start=${formatLinearAddress(start)} end=${formatLinearAddress(end)} num_purged=${areas}`,
      ),
    flushRange: (start, end, full) => {
      if (options.showKernelFlushes !== true) return;
      const pages = full ? -1 : Math.ceil((end - start) / PAGE_SIZE);
      for (let cpu = 0; cpu < loop.cpus; cpu++) {
        const reason = cpu === loop.currentCpu ? REASON_LOCAL_SHOOTDOWN : REASON_REMOTE_SHOOTDOWN;
        emit("tlb_flush", `pages:${pages} reason:${reason}`, cpu);
      }
    },
  };
}
