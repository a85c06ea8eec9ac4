/** Notes what happens inside vmalloc in the form that a recording's event lines have. */

import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { EventLoop, Thread } from "../../arch/time/event-loop.ts";
import type { VmallocEvents } from "../../mm/kernel/vmalloc-events.ts";
import type { RecordedEvent } from "./recorded-event.ts";

/** Events with their fields in the recording's order; `take` hands them over. */
export class EventRecorder implements VmallocEvents {
  private readonly loop: EventLoop;
  private readonly caller: () => Thread | null;
  private events: RecordedEvent[] = [];

  /**
   * @param loop tells which CPU and thread act
   * @param caller the thread that makes the calls; events of any other are marked `"ctx":"other"`
   */
  constructor(loop: EventLoop, caller: () => Thread | null) {
    this.loop = loop;
    this.caller = caller;
  }

  /** The events since the last `take`. */
  take(): RecordedEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  alloc(
    addr: number,
    sizeBytes: number,
    align: number,
    vstart: number,
    vend: number,
    vaFlags: number,
    failed: boolean,
  ): void {
    this.add({
      ev: "alloc",
      addr: formatLinearAddress(addr),
      size: sizeBytes,
      align,
      vstart: formatLinearAddress(vstart),
      vend: formatLinearAddress(vend),
      va_flags: vaFlags,
      fail: Number(failed),
    });
  }

  free(start: number, end: number, lazyNr: number, lazyMax: number, vaFlags: number, node: number): void {
    this.add({
      ev: "free",
      addr: formatLinearAddress(start),
      end: formatLinearAddress(end),
      lazy_nr: lazyNr,
      lazy_max: lazyMax,
      va_flags: vaFlags,
      node,
    });
  }

  purgeBegin(start: number, end: number, fullDecay: boolean, lazyNr: number): void {
    this.add({ ev: "purge_begin", ...range(start, end), full_decay: Number(fullDecay), lazy_nr: lazyNr });
  }

  purge(start: number, end: number, areas: number, fullDecay: boolean, nodes: number, lazyNr: number): void {
    this.add({
      ev: "purge",
      ...range(start, end),
      areas,
      full_decay: Number(fullDecay),
      nodes,
      lazy_nr: lazyNr,
    });
  }

  purgeNode(node: number, skipPopulate: boolean): void {
    this.add({ ev: "purge_node", node, skip_populate: Number(skipPopulate) });
  }

  merge(start: number, end: number): void {
    this.add({ ev: "merge", ...range(start, end) });
  }

  flushRange(start: number, end: number, full: boolean): void {
    this.add({ ev: "flush_range", ...range(start, end), full: Number(full) });
  }

  flushAll(): void {
    this.add({ ev: "flush_all" });
  }

  poolAdd(node: number, start: number, end: number, length: number): void {
    this.add({ ev: "pool_add", node, ...range(start, end), len: length });
  }

  poolDel(node: number, start: number, end: number, length: number): void {
    this.add({ ev: "pool_del", node, ...range(start, end), len: length });
  }

  poolRot(node: number, start: number, end: number, align: number): void {
    this.add({ ev: "pool_rot", node, ...range(start, end), align });
  }

  decay(node: number, index: number, length: number, full: boolean, nDecay: number): void {
    this.add({ ev: "decay", node, index, len: length, full: Number(full), n_decay: nDecay });
  }

  decayVa(node: number, start: number, end: number): void {
    this.add({ ev: "decay_va", node, ...range(start, end) });
  }

  newBlock(start: number, end: number, cpu: number, order: number): void {
    this.add({ ev: "new_block", ...range(start, end), cpu, order });
  }

  freeBlock(start: number, end: number, cpu: number): void {
    this.add({ ev: "free_block", ...range(start, end), cpu });
  }

  purgeFrag(start: number, free: number, dirty: number, force: boolean, cpu: number): void {
    this.add({ ev: "purge_frag", start: formatLinearAddress(start), free, dirty, force: Number(force), cpu });
  }

  vbAlloc(addr: number, order: number, block: number, free: number, dirty: number, cpu: number): void {
    this.add({
      ev: "vb_alloc",
      addr: formatLinearAddress(addr),
      order,
      block: formatLinearAddress(block),
      free,
      dirty,
      cpu,
    });
  }

  vbFree(addr: number, order: number, block: number, free: number, dirty: number, cpu: number): void {
    this.add({
      ev: "vb_free",
      addr: formatLinearAddress(addr),
      order,
      block: formatLinearAddress(block),
      free,
      dirty,
      cpu,
    });
  }

  drainSched(lazyNr: number, lazyMax: number, queued: boolean): void {
    this.add({ ev: "drain_sched", lazy_nr: lazyNr, lazy_max: lazyMax, queued: Number(queued) });
  }

  drain(lazyNr: number): void {
    this.add({ ev: "drain", lazy_nr: lazyNr });
  }

  aliases(start: number, end: number, flush: boolean): void {
    this.add({ ev: "aliases", ...range(start, end), flush: Number(flush) });
  }

  mapPages(start: number, end: number, pageShift: number, protLow: number, protHigh: number, firstFrame: number): void {
    this.add({
      ev: "map_pages",
      ...range(start, end),
      page_shift: pageShift,
      prot: formatEntry(protLow, protHigh),
      pfn0: formatHex(firstFrame),
    });
  }

  mapRange(start: number, end: number, phys: number, protLow: number, protHigh: number, maxPageShift: number): void {
    this.add({
      ev: "map_range",
      ...range(start, end),
      phys: formatHex(phys),
      prot: formatEntry(protLow, protHigh),
      max_shift: maxPageShift,
    });
  }

  vunmap(start: number, end: number): void {
    this.add({ ev: "vunmap", ...range(start, end) });
  }

  ptAlloc(level: number, table: number, entry: number): void {
    this.add({ ev: "pt_alloc", level, table: formatHex(table), entry: formatHex(entry) });
  }

  ptFree(level: number, table: number, entry: number, addr: number): void {
    this.add({
      ev: "pt_free",
      level,
      table: formatHex(table),
      entry: formatHex(entry),
      addr: formatLinearAddress(addr),
    });
  }

  private add(event: Record<string, string | number> & { ev: string }): void {
    if (this.loop.currentThread !== this.caller()) event.ctx = "other";
    if (this.loop.currentCpu !== 0) event.on_cpu = this.loop.currentCpu;
    this.events.push(event);
  }
}

function range(start: number, end: number): { start: string; end: string } {
  return { start: formatLinearAddress(start), end: formatLinearAddress(end) };
}

function formatHex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** A page-table entry of two 32-bit words as one 64-bit hexadecimal number. */
function formatEntry(low: number, high: number): string {
  if (high === 0) return formatHex(low >>> 0);
  return `${formatHex(high >>> 0)}${(low >>> 0).toString(16).padStart(8, "0")}`;
}
