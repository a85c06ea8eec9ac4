/**
 * Flushing kernel translations on every CPU (`arch/x86/mm/tlb.c`: `flush_tlb_kernel_range`, `flush_tlb_all`; `kernel/smp.c`:
 * `on_each_cpu`). A CPU's TLB changes when its interrupt handler runs, not before.
 */
import { type EventLoop, type KernelCode, PAUSE_SPIN } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import type { Machine } from "../arch/machine.ts";
import type { IpiCosts } from "./kernel-costs.ts";
import { ADDRESS_MAX } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Flushes [start, end) on every CPU: page by page up to the ceiling, the whole TLB above it. */
export function* flushTlbKernelRange(state: Vmalloc, start: number, end: number): KernelCode<void> {
  const { machine, config } = state;
  const full = end === ADDRESS_MAX || end - start > config.flushCeilingPages * PAGE_SIZE;
  state.events?.flushRange(start, end, full);
  if (full) {
    state.fullFlushes++;
    yield* onEachCpu(machine, state.costs.ipi, (cpu) => flushWholeTlb(state, cpu));
  } else {
    state.rangeFlushes++;
    yield* onEachCpu(machine, state.costs.ipi, (cpu) => {
      for (let la = start; la < end; la += PAGE_SIZE) {
        state.vmstat.localFlushOne++;
        machine.cpus[cpu].invlpg(la);
      }
    });
  }
}

/** Flushes every TLB whole, global entries included. */
export function* flushTlbAll(state: Vmalloc): KernelCode<void> {
  const { machine } = state;
  state.events?.flushAll();
  state.fullFlushes++;
  state.vmstat.remoteFlush++;
  yield* onEachCpu(machine, state.costs.ipi, (cpu) => flushWholeTlb(state, cpu));
}

/** `do_flush_tlb_all` on one CPU. */
function flushWholeTlb(state: Vmalloc, cpu: number): void {
  state.vmstat.remoteFlushReceived++;
  state.machine.cpus[cpu].flushTlbAll();
}

/** Runs `handler` on every CPU, on the others by interrupt, and waits until all have run it (`on_each_cpu`). */
export function* onEachCpu(machine: Machine, costs: IpiCosts, handler: (cpu: number) => void): KernelCode<void> {
  const { loop } = machine;
  const self = loop.currentCpu;
  const sent = loop.cpus > 1 ? sendToOthers(loop, costs, self, handler) : null;
  handler(self);
  if (sent !== null && sent.outstanding > 0) yield PAUSE_SPIN;
}

interface SentInterrupts {
  outstanding: number;
}

function sendToOthers(loop: EventLoop, costs: IpiCosts, self: number, handler: (cpu: number) => void): SentInterrupts {
  const sender = loop.currentThread;
  if (sender === null) throw new Error("a flush was asked for outside any thread");
  const sent = { outstanding: loop.cpus - 1 };
  let lastAckCycles = 0;
  const take = (cpu: number): void => {
    loop.spend(costs.entryCycles);
    handler(cpu);
    loop.spend(costs.exitCycles);
    lastAckCycles = Math.max(lastAckCycles, loop.nowCycles() + costs.ackCycles);
    if (--sent.outstanding === 0) loop.wake(sender, lastAckCycles);
  };
  for (let cpu = 0; cpu < loop.cpus; cpu++) {
    if (cpu === self) continue;
    loop.spend(costs.sendCycles);
    loop.postInterrupt(cpu, loop.nowCycles() + costs.latencyCycles, take);
  }
  return sent;
}
