/**
 * From the events of a trace to what a replay has to make: calls, with what they returned. Calls within calls are the kernel's own doing
 * and come about again by themselves; so do areas that a call allocates and frees, and the flushes of a purge.
 */
import { type CallName, USER_END } from "../../mm/index.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";
import { SortedAddresses } from "./sorted-addresses.ts";

/** What was allocated in the traced kernel, and where it is here. */
export interface Allocation {
  /** Whether it has been made here; before, whoever frees it waits. */
  isMade: boolean;
  /** Its address here; 0 when it could not be had. */
  address: number;
  /** Pages of memory that are mapped there, as far as the trace says. */
  pages: number;
  /** How much is there in the traced kernel, as far as the trace says. */
  readonly sizeBytes: number;
  /** Whether it is an area alone, of which no call is known. */
  readonly isArea: boolean;
  /** Flags that vmalloc was called with; 0 for anything else. */
  readonly flags: number;
  /** Changes of its pages' rights that are the last ones for some of them. */
  rights: readonly RightsChange[];
}

/** A change of rights of a part of an allocation: bytes behind its begin. What overlaps it later in the trace comes after it here too. */
export interface RightsChange {
  readonly startBytes: number;
  readonly endBytes: number;
  /** Those that it comes after. */
  readonly after: readonly RightsChange[];
  isDone: boolean;
}

/** Something to be made on a CPU. */
export interface TracedCall {
  readonly kind: CallName | "area" | "free area";
  readonly task: string;
  readonly cpu: number;
  /** When it began, and how long it took there; seconds of the traced machine. 0 where its end is not in the trace. */
  readonly seconds: number;
  readonly tookSeconds: number;
  readonly line: number;
  readonly args: ReadonlyMap<string, bigint>;
  readonly caller: string;
  /** The traced address: allocated or freed. */
  readonly address: bigint;
  /** What it allocates or frees, or whose rights it changes; null for what does none of that. */
  readonly allocation: Allocation | null;
  /** Which part of the allocation has its rights changed. */
  readonly rights?: RightsChange;
  /** What it did with areas, in their order. */
  readonly steps: readonly TracedStep[];
}

/** Something whose place in the order of all CPUs decides what comes of it: room taken for an area, an area lazily freed, or a purge. */
export interface TracedStep {
  readonly kind: "alloc" | "free" | "purge";
  /** Where the area lay; 0 for a purge. */
  readonly address: bigint;
  /** 0 where it is not said. */
  readonly sizeBytes: number;
  /** Its number among all of the trace. */
  readonly order: number;
}

/** Why a call is not made. */
export type SkipCall = (reason: string, line: number) => void;

/** A call that has not ended. */
interface OpenCall {
  readonly event: FtraceEvent & { readonly event: "enter" };
  readonly line: number;
  readonly steps: TracedStep[];
  /** What it frees or resizes, taken when the call begins: before it ends, somebody else may get the address. */
  readonly frees: Allocation | null;
}

/** Calls of which one may be within another of the same name. */
const WITHIN_ITSELF: ReadonlySet<CallName> = new Set(["vmalloc", "vfree"]);
/** Calls that are made wherever they stand: changes of address space happen within any other. */
const ALWAYS: ReadonlySet<CallName> = new Set(["switch_mm", "lazy_tlb", "flush_tlb_mm_range"]);
/** Calls that change an address space, and flush it themselves. */
const OF_MEMORY: ReadonlySet<CallName> = new Set(["mmap", "munmap"]);
const ALLOCATES: ReadonlySet<CallName> = new Set(["vmalloc", "vmap", "vm_map_ram", "ioremap"]);
const FREES: ReadonlySet<CallName> = new Set(["vfree", "vunmap", "vm_unmap_ram", "iounmap"]);
const PAGE_MASK = 0xfffn;
const PAGE_BYTES = 4096;

/** Follows the tasks of a trace. */
export class TracedCalls {
  private readonly open = new Map<string, OpenCall[]>();
  private readonly live = new Map<bigint, Allocation>();
  /** The address space that each traced CPU runs, and mappings of all of them by address space and address. */
  private readonly mms = new Map<number, bigint>();
  private readonly mappings = new Map<string, Allocation>();
  /** Where what is live begins. */
  private readonly starts = new SortedAddresses();
  private readonly skip: SkipCall;
  private stepCount = 0;

  constructor(skip: SkipCall) {
    this.skip = skip;
  }

  /** An area that is there before the trace begins. */
  addInitial(address: bigint, sizeBytes: number, isArea: boolean): Allocation {
    return this.allocate(address, sizeBytes, isArea);
  }

  /** What has been allocated and not freed. */
  get liveAllocations(): number {
    return this.live.size;
  }

  /** Whether the task is within a call: what it does there comes about again by itself. */
  isInCall(task: string): boolean {
    return (this.open.get(task)?.length ?? 0) > 0;
  }

  /** What lies at a traced address, and how far behind its begin; null for what no call has allocated. */
  find(address: bigint): { readonly allocation: Allocation; readonly offset: number } | null {
    const start = this.starts.atOrBefore(address);
    const allocation = start === null ? undefined : this.live.get(start);
    if (start === null || allocation === undefined) return null;
    const offset = Number(address - start);
    return offset < allocation.sizeBytes ? { allocation, offset } : null;
  }

  /** When the earliest call began that is under way on `cpu`, of those since a time; infinity when there is none. */
  earliestOpen(cpu: number, sinceSeconds = Number.NEGATIVE_INFINITY): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const [outermost] of this.open.values()) {
      const { seconds } = outermost.event;
      if (outermost.event.cpu === cpu && seconds >= sinceSeconds) earliest = Math.min(earliest, seconds);
    }
    return earliest;
  }

  /**
   * A CPU goes on with another task, where the trace does not show address spaces being loaded.
   * @param mm that of the task; null for a kernel thread, which borrows what is loaded
   */
  switchTo({ task, cpu, seconds }: FtraceEvent, mm: bigint | null, line: number): TracedCall {
    if (mm !== null) this.mms.set(cpu, mm);
    return {
      kind: mm === null ? "lazy_tlb" : "switch_mm",
      task,
      cpu,
      seconds,
      tookSeconds: 0,
      line,
      args: new Map(mm === null ? [] : [["next", mm]]),
      caller: "",
      address: 0n,
      allocation: null,
      steps: [],
    };
  }

  /** What the next event leads to; null for nothing. */
  next(event: FtraceEvent, line: number): TracedCall | null {
    if (event.event === "enter") return this.enter(event, line);
    if (event.event === "exit") return this.exit(event);
    if (event.event === "alloc") return this.area(event, line);
    if (event.event === "free") return this.freeArea(event, line);
    return null;
  }

  private enter(event: FtraceEvent & { event: "enter" }, line: number): null {
    let stack = this.open.get(event.task);
    if (stack === undefined) {
      stack = [];
      this.open.set(event.task, stack);
    }
    const isAgain = !WITHIN_ITSELF.has(event.call) && stack.some((open) => open.event.call === event.call);
    // The end of the calls before it is not in the trace: events were lost.
    if (isAgain) stack.length = 0;
    const frees = stack.every((open) => ALWAYS.has(open.event.call)) ? this.freedBy(event, line) : null;
    const steps = event.call === "purge" ? [this.step("purge")] : [];
    stack.push({ event, line, steps, frees });
    return null;
  }

  private freedBy({ call, args, inInterrupt }: FtraceEvent & { event: "enter" }, line: number): Allocation | null {
    const address = args.get("addr") ?? 0n;
    if (address === 0n || (call !== "vrealloc" && !FREES.has(call))) return null;
    // From an interrupt handler vfree only asks a worker to free: that comes later in the trace.
    return call === "vfree" && inInterrupt ? null : this.take(address & ~PAGE_MASK, line);
  }

  private exit(event: FtraceEvent & { event: "exit" }): TracedCall | null {
    const stack = this.open.get(event.task) ?? [];
    const at = stack.findLastIndex((open) => open.event.call === event.call);
    if (at < 0) return null;
    const [ended] = stack.splice(at);
    if (stack.length === 0) {
      this.open.delete(event.task);
    } else if (!ALWAYS.has(event.call) || stack.some((open) => OF_MEMORY.has(open.event.call))) {
      stack[stack.length - 1].steps.push(...ended.steps);
      return null;
    }
    return this.call(ended, event);
  }

  private call(
    { event: begun, line, steps, frees }: OpenCall,
    ended: FtraceEvent & { event: "exit" },
  ): TracedCall | null {
    const { call, args, cpu, seconds, task } = begun;
    const caller = begun.caller === "" ? ended.from : begun.caller;
    const tookSeconds = ended.seconds - seconds;
    const what = { kind: call, task, cpu, seconds, tookSeconds, line, args, caller, steps };
    if (ALLOCATES.has(call)) {
      if (ended.result === 0n) return this.failed(line);
      return {
        ...what,
        address: ended.result,
        allocation: this.allocate(ended.result & ~PAGE_MASK, sizeOf(args), false, flagsOf(call, args)),
      };
    }
    if (OF_MEMORY.has(call)) return this.ofMemory(what, call === "mmap" ? ended.result : (args.get("addr") ?? 0n));
    if (call === "switch_mm") this.mms.set(cpu, args.get("next") ?? 0n);
    const address = args.get("addr") ?? 0n;
    if (call === "vrealloc") return this.resize({ ...what, address, allocation: frees }, ended.result);
    if (changesRights(call)) {
      const found = this.find(address);
      if (found === null) return { ...what, address, allocation: null };
      const { allocation, offset } = found;
      return { ...what, address, allocation, rights: changeRights(allocation, offset, pagesOf(args)) };
    }
    if (!FREES.has(call)) return { ...what, address, allocation: null };
    return frees === null ? null : { ...what, address, allocation: frees };
  }

  /** A mapping of the process that the CPU runs: who unmaps it waits until it is there. */
  private ofMemory(what: Omit<TracedCall, "address" | "allocation">, address: bigint): TracedCall | null {
    // An errno is an address above all others.
    if (address >= BigInt(USER_END)) return null;
    const key = `${this.mms.get(what.cpu) ?? 0n} ${address}`;
    if (what.kind === "munmap") {
      const allocation = this.mappings.get(key) ?? null;
      this.mappings.delete(key);
      return { ...what, address, allocation };
    }
    const allocation: Allocation = {
      isMade: false,
      address: 0,
      pages: 0,
      sizeBytes: sizeOf(what.args),
      isArea: false,
      flags: 0,
      rights: [],
    };
    this.mappings.set(key, allocation);
    return { ...what, address, allocation };
  }

  /** The allocation stays the same one, whatever address it has then. */
  private resize(what: TracedCall, result: bigint): TracedCall | null {
    const { address, allocation } = what;
    if (address === 0n && result !== 0n)
      return { ...what, address: result, allocation: this.allocate(result, sizeOf(what.args), false) };
    if (allocation === null) return null;
    const now = result === 0n ? address : result;
    this.live.set(now, allocation);
    this.starts.add(now);
    return result === 0n ? this.failed(what.line) : what;
  }

  private area(event: FtraceEvent & { event: "alloc" }, line: number): TracedCall | null {
    const { task, cpu, seconds, address, sizeBytes, align, vstart, vend } = event;
    if (this.isWithinCall(task)) {
      if (!event.failed) this.addStep(task, "alloc", address, sizeBytes);
      return null;
    }
    if (event.failed) return this.failed(line);
    const args = new Map([
      ["size", BigInt(sizeBytes)],
      ["align", BigInt(align)],
      ["start", vstart],
      ["end", vend],
    ]);
    const allocation = this.allocate(address, sizeBytes, true);
    const steps = [this.step("alloc", address, sizeBytes)];
    const what = { kind: "area", task, cpu, seconds, tookSeconds: 0, line, args } as const;
    return { ...what, caller: "", address, allocation, steps };
  }

  private freeArea(event: FtraceEvent & { event: "free" }, line: number): TracedCall | null {
    const { task, cpu, seconds, address } = event;
    if (this.isWithinCall(task)) {
      this.addStep(task, "free", address);
      return null;
    }
    const allocation = this.take(address, line);
    if (allocation === null) return null;
    const args = new Map<string, bigint>();
    const what = { kind: "free area", task, cpu, seconds, tookSeconds: 0, line, args } as const;
    return { ...what, caller: "", address, allocation, steps: [this.step("free", address)] };
  }

  private step(kind: TracedStep["kind"], address = 0n, sizeBytes = 0): TracedStep {
    return { kind, address, sizeBytes, order: this.stepCount++ };
  }

  private addStep(task: string, kind: TracedStep["kind"], address: bigint, sizeBytes = 0): void {
    this.open
      .get(task)
      ?.at(-1)
      ?.steps.push(this.step(kind, address, sizeBytes));
  }

  private isWithinCall(task: string): boolean {
    return this.open.get(task)?.some(({ event }) => !ALWAYS.has(event.call)) ?? false;
  }

  private allocate(address: bigint, sizeBytes: number, isArea: boolean, flags = 0): Allocation {
    const allocation: Allocation = { isMade: false, address: 0, pages: 0, sizeBytes, isArea, flags, rights: [] };
    this.live.set(address, allocation);
    this.starts.add(address);
    return allocation;
  }

  private take(address: bigint, line: number): Allocation | null {
    const allocation = this.live.get(address);
    if (allocation === undefined) {
      this.skip("frees an area whose allocation is not in the trace", line);
      return null;
    }
    this.live.delete(address);
    this.starts.delete(address);
    return allocation;
  }

  private failed(line: number): null {
    this.skip("is an allocation that failed in the traced kernel", line);
    return null;
  }
}

/** Whether a call changes rights of kernel pages. */
export function changesRights(call: TracedCall["kind"]): boolean {
  return call.startsWith("set_memory_");
}

/** Notes a change of the rights of some pages of an allocation. */
function changeRights(allocation: Allocation, startBytes: number, pages: number): RightsChange {
  const endBytes = startBytes + pages * PAGE_BYTES;
  const overlaps = (each: RightsChange): boolean => each.startBytes < endBytes && startBytes < each.endBytes;
  const covers = (each: RightsChange): boolean => startBytes <= each.startBytes && each.endBytes <= endBytes;
  const after = allocation.rights.filter((each) => !each.isDone && overlaps(each));
  const change = { startBytes, endBytes, after, isDone: false };
  allocation.rights = [...allocation.rights.filter((each) => !each.isDone && !covers(each)), change];
  return change;
}

function pagesOf(args: ReadonlyMap<string, bigint>): number {
  return Number(args.get("pages") ?? 0n);
}

function flagsOf(call: CallName, args: ReadonlyMap<string, bigint>): number {
  return call === "vmalloc" ? Number(args.get("flags") ?? 0n) : 0;
}

/** Bytes that a call asks for. */
function sizeOf(args: ReadonlyMap<string, bigint>): number {
  return Number(args.get("size") ?? (args.get("count") ?? 0n) * (PAGE_MASK + 1n));
}
