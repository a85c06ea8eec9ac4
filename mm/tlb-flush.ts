/**
 * Flushing kernel translations on every CPU (`arch/x86/mm/tlb.c`: `flush_tlb_kernel_range`, `flush_tlb_all`; `kernel/smp.c`:
 * `on_each_cpu`). A CPU's TLB changes when its interrupt handler runs, not before.
 */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { ADDRESS_MAX } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Flushes [start, end) on every CPU: page by page up to the ceiling, the whole TLB above it. */
export function* flushTlbKernelRange(state: Vmalloc, start: number, end: number): KernelCode<void> {
  const { machine, config } = state;
  const full = end === ADDRESS_MAX || end - start > config.flushCeilingPages * PAGE_SIZE;
  state.events?.flushRange(start, end, full);
  if (full) {
    state.fullFlushes++;
    yield* state.smp.onEachCpu((cpu) => flushWholeTlb(state, cpu));
  } else {
    state.rangeFlushes++;
    yield* state.smp.onEachCpu((cpu) => {
      for (let la = start; la < end; la += PAGE_SIZE) {
        state.vmstat.localFlushOne++;
        machine.cpus[cpu].invlpg(la);
      }
    });
  }
}

/** Flushes every TLB whole, global entries included. */
export function* flushTlbAll(state: Vmalloc): KernelCode<void> {
  state.events?.flushAll();
  state.fullFlushes++;
  state.vmstat.remoteFlush++;
  yield* state.smp.onEachCpu((cpu) => flushWholeTlb(state, cpu));
}

/** `do_flush_tlb_all` on one CPU. */
function flushWholeTlb(state: Vmalloc, cpu: number): void {
  state.vmstat.remoteFlushReceived++;
  state.machine.cpus[cpu].flushTlbAll();
}
