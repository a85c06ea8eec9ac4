/**
 * Tracepoints as ftrace prints them: `vmalloc:alloc_vmap_area`, `vmalloc:free_vmap_area_noflush`,
 * `vmalloc:purge_vmap_area_lazy` and `tlb:tlb_flush` (`include/trace/events/vmalloc.h`, `include/trace/events/tlb.h`).
 *
 * Linux raises no `tlb_flush` for `flush_tlb_kernel_range`: whoever traces a kernel does not see what vmalloc's flushes
 * cost. `showKernelFlushes` adds them: `local shootdown` on the CPU that flushes, `remote shootdown` on every other one.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { VmallocEvents } from "../kernel/vmalloc-events.ts";
import { observeEach } from "./event-definitions.ts";
import { addFields, type FieldValue } from "./event-fields.ts";
import { formatPayload } from "./tracepoint-text.ts";

/** What ftrace lines need beside the events. */
export interface FtraceOptions {
  /** Cycles in a second, for the timestamps. */
  readonly cyclesPerSecond: number;
  /** Digits of the timestamps' fractions: 6 as the kernel prints them, 9 as `trace-cmd report -t` does. Default: 6. */
  readonly digits?: 6 | 9;
  /** Whether kernel-range flushes appear as `tlb_flush`, which a real kernel leaves out. */
  readonly showKernelFlushes?: boolean;
}

const REASON_REMOTE_SHOOTDOWN = "remote shootdown (1)";
const REASON_LOCAL_SHOOTDOWN = "local shootdown (2)";
/** Characters of a task's name that the kernel keeps. */
const COMM_MAX = 15;
/** The task of a CPU that has nothing to run, number 0 on each. */
export const IDLE_COMM = "<idle>";
/** Number shown for the first CPU's task; tasks have no numbers of their own here. */
const FIRST_PID = 1000;

/**
 * A line of ftrace text.
 * @param comm the task's name, of which the kernel keeps 15 characters
 */
export function ftraceLine(
  { cyclesPerSecond, digits = 6 }: FtraceOptions,
  comm: string,
  cpu: number,
  cycles: number,
  payload: { readonly event: string; readonly text: string },
): string {
  const [whole, fraction] = (cycles / cyclesPerSecond).toFixed(digits).split(".");
  const task = comm.slice(0, COMM_MAX).padStart(16);
  const pid = String(comm === IDLE_COMM ? 0 : FIRST_PID + cpu).padEnd(7);
  return `${task}-${pid} [${String(cpu).padStart(3, "0")}] ..... ${whole.padStart(5)}.${fraction}: ${payload.event}: ${payload.text}`;
}

/** An observer of vmalloc that hands each tracepoint's line to `write`. */
export function ftraceText(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): VmallocEvents {
  const emit = (event: string, payload: string, cpu: number = loop.currentCpu): void => {
    const comm = loop.currentThread?.name ?? "swapper";
    write(ftraceLine(options, comm, cpu, loop.clockCycles[cpu], { event, text: payload }));
  };
  const tracepoints = observeEach((_hook, { tracepoint, fields }) => {
    if (tracepoint === undefined) return () => {};
    return (...values) => {
      const event: Record<string, FieldValue> = {};
      addFields(event, fields, values);
      emit(tracepoint.name, formatPayload(tracepoint.format, event));
    };
  });
  return {
    ...tracepoints,
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
