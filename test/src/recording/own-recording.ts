/**
 * Recordings of the emulated kernel itself, as files of the real kernel's format: random calls of every kind, on any number of
 * CPUs, with migrations, from a state that other random calls have left. What a replay of them must reproduce does not depend on
 * which scenarios and seeds were recorded on the real kernel.
 */
import { formatLinearAddress } from "../../../arch/isa/linear-address.ts";
import { VM_IOREMAP, VM_MAP, VMALLOC_END, VMALLOC_START, type VmallocConfig } from "../../../mm/index.ts";
import { EventRecorder } from "../../../src/events/event-recorder.ts";
import type { RecordedEvent } from "../../../src/events/recorded-event.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { randomStream } from "../../../src/machine/random.ts";
import type { RecordedState } from "../../../src/recording/recorded-state.ts";
import { alignClocks, callingThread, captureState } from "../../../src/recording/replay-kernel.ts";

const PAGE = 4096;
/** Pages that the calls map. */
const POOL_PAGES = 1024;

/** What is recorded. */
export interface OwnRecordingConfig {
  readonly seed: number;
  readonly cpus: number;
  /** Calls made before the recording starts, and recorded ones. */
  readonly callsBefore: number;
  readonly calls: number;
  /** Whether the thread changes CPUs. */
  readonly migrates: boolean;
  /** Whether all areas lie in a small window, so that the address space runs out. */
  readonly inWindow?: boolean;
  readonly vmalloc?: Partial<VmallocConfig>;
  readonly flushCeilingPages?: number;
}

interface Live {
  readonly free: "vfree" | "vunmap" | "iounmap" | "free_vm_area" | "vm_unmap_ram";
  readonly address: number;
  readonly pages: number;
}

const hex = formatLinearAddress;

/** The recording's lines. */
export function recordOwnKernel(config: OwnRecordingConfig): string[] {
  return new OwnRecording(config).record();
}

class OwnRecording {
  private readonly config: OwnRecordingConfig;
  private readonly kernel: Kernel;
  /** A random whole number below a bound. */
  private readonly below: (bound: number) => number;
  private readonly recorder: EventRecorder;
  private readonly frames: Uint32Array;
  private readonly live: Live[] = [];
  private lines: string[] = [];
  private madeCalls = 0;
  private isRecorded = false;

  constructor(config: OwnRecordingConfig) {
    this.config = config;
    this.kernel = bootKernel({
      cpus: config.cpus,
      flushCeilingPages: config.flushCeilingPages,
      vmalloc: { onlineCpus: config.cpus, ...config.vmalloc },
    });
    const random = randomStream(config.seed);
    this.below = (bound) => random.between(0, bound - 1);
    const caller = callingThread(this.kernel);
    this.recorder = new EventRecorder(this.kernel.machine.loop, () => caller);
    this.frames = this.kernel.allocFrames(POOL_PAGES);
    this.kernel.vm.events = this.recorder.observer;
  }

  record(): string[] {
    const { config, kernel } = this;
    for (let i = 0; i < config.callsBefore; i++) this.step();
    kernel.runUntilIdle();
    this.recorder.take();
    this.lines = [];
    this.madeCalls = 0;
    this.isRecorded = true;
    this.put(this.header());
    this.putState("init", captureState(kernel));
    this.put({ init: "end" });
    for (let i = 0; i < config.calls; i++) this.step();
    this.put({ end_of_calls: 1 });
    this.put({ final: "meta", lazy_nr: kernel.vm.lazyNr });
    this.putState("final", captureState(kernel));
    return this.lines;
  }

  private header(): object {
    const { config, vm, currentCpu, machine } = this.kernel;
    const vmalloc = vm.config;
    return {
      header: 1,
      name: `own_smp${config.cpus}_s${this.config.seed}`,
      scenario: "own",
      seed: this.config.seed,
      smp: machine.cpus.length,
      pinned_cpu: currentCpu,
      nr_vmap_nodes: vmalloc.vmapNodes,
      vmap_zone_size: vmalloc.zoneSizeBytes,
      vmalloc_start: hex(VMALLOC_START),
      vmalloc_end: hex(VMALLOC_END),
      page_size: PAGE,
      lazy_nr: vm.lazyNr,
      vmap_bbmap_bits: vmalloc.blockPages,
      vmap_block_size: vmalloc.blockPages * PAGE,
      vmap_max_alloc: 64,
      vmap_purge_threshold: vmalloc.purgeThresholdPages,
      lazy_max_pages: vmalloc.lazyMaxPages,
      num_online_cpus: vmalloc.onlineCpus,
      num_possible_cpus: vmalloc.possibleCpus,
      nr_cpu_ids: vmalloc.possibleCpus,
      NR_CPUS: vmalloc.nrCpus,
      tlb_single_page_flush_ceiling: this.kernel.mm.flushing.ceilingPages,
      ioremap_max_page_shift: vmalloc.ioremapMaxPageShift,
      vmap_allow_huge: Number(vmalloc.allowHuge),
    };
  }

  /** One random call, a wait for drain work where it scheduled some, now and then a migration. */
  private step(): void {
    const { config, kernel, live, below } = this;
    if (config.migrates && below(8) === 0) {
      // The work stays on its CPU, where it would run beside the calls of the next one.
      this.waitForDrain();
      kernel.currentCpu = below(config.cpus);
      this.put({ migrate: kernel.currentCpu });
    }
    if (live.length > 0 && below(100) < (live.length > 150 ? 70 : 45)) this.free();
    else this.allocate();
    // With twice the maximum of lazy pages several CPUs purge at once, and the order of their steps is nothing that a state and
    // calls determine.
    const mayWaitLonger = kernel.vm.lazyNr < 1.4 * kernel.vm.config.lazyMaxPages;
    if (kernel.vm.drainWork?.isPending === true && !(mayWaitLonger && below(4) === 0)) this.waitForDrain();
  }

  /** Waits for drain work, if some is scheduled. */
  private waitForDrain(): void {
    const { kernel } = this;
    if (kernel.vm.drainWork?.isPending !== true) return;
    this.put({ wait: "drain" });
    alignClocks(kernel);
    kernel.runUntilIdle();
    this.putEvents();
    this.put({ wait_done: "drain" });
  }

  private allocate(): number {
    const { kernel, config, below } = this;
    // A state does not tell whose array of page pointers an area holds: none is left over from before the recording.
    const isRecorded = this.isRecorded;
    const pages = 1 + below(below(6) > 0 ? 20 : isRecorded ? 700 : 300);
    const size = pages * PAGE - below(2) * below(PAGE);
    const from = VMALLOC_START + 2 ** 41;
    const window = { start: from, end: from + 96 * PAGE };
    const kind = config.inWindow === true && below(3) > 0 ? 9 : below(11);
    switch (kind) {
      case 0:
        return this.made("vmalloc", "vfree", { size }, (caller) => kernel.vmalloc(size, caller));
      case 1:
        return this.made("vzalloc", "vfree", { size }, (caller) => kernel.vzalloc(size, caller));
      case 2: {
        const huge = (1 + below(isRecorded ? 5 : 2)) * 2 ** 20;
        return this.made("vmalloc_huge", "vfree", { size: huge }, (caller) => kernel.vmallocHuge(huge, caller));
      }
      case 3: {
        const align = 2 ** below(23);
        return this.made("vmalloc_align", "vfree", { size, align }, (caller) =>
          kernel.vmallocAlign(size, align, caller),
        );
      }
      case 4:
      case 5:
      case 6: {
        const count = 1 + below(below(5) === 0 ? 200 : 64);
        const page_off = below(POOL_PAGES - count);
        const frames = this.frames.subarray(page_off, page_off + count);
        if (kind === 4)
          return this.made("vmap", "vunmap", { count, page_off }, (caller) => kernel.vmap(frames, caller));
        return this.made("vm_map_ram", "vm_unmap_ram", { count, page_off }, () => kernel.vmMapRam(frames), count);
      }
      case 7: {
        const phys = 2 ** 40 + below(64) * (below(2) === 0 ? PAGE : 2 ** 21);
        const bytes = config.cpus === 1 && below(8) === 0 ? 2 ** 30 : size;
        return this.made("ioremap", "iounmap", { phys: `0x${phys.toString(16)}`, size: bytes }, (caller) =>
          kernel.ioremap(phys, bytes, undefined, caller),
        );
      }
      case 8: {
        const vm_flags = below(2) === 0 ? VM_MAP : VM_IOREMAP;
        return this.made("get_vm_area", "free_vm_area", { size, vm_flags }, (caller) =>
          kernel.getVmArea(size, vm_flags, caller),
        );
      }
      case 9: {
        const args = { size, vm_flags: VM_MAP, start: hex(window.start), end: hex(window.end) };
        return this.made("get_vm_area_range", "free_vm_area", args, (caller) =>
          kernel.getVmAreaRange(size, VM_MAP, window.start, window.end, caller),
        );
      }
      default:
        this.callVoid("vm_unmap_aliases", {}, () => kernel.vmUnmapAliases());
        return 0;
    }
  }

  private made(call: string, free: Live["free"], args: object, make: (caller: string) => number, pages = 0): number {
    const address = this.call(call, args, () => make(`rec_${call}+0x1f/0x40 [rec]`));
    if (address !== 0) this.live.push({ free, address, pages });
    return address;
  }

  private free(): void {
    const { kernel, live, below } = this;
    const [{ free, address, pages }] = live.splice(below(live.length), 1);
    const addr = hex(address);
    switch (free) {
      case "vfree":
        this.callVoid(free, { addr }, () => kernel.vfree(address));
        break;
      case "vunmap":
        this.callVoid(free, { addr }, () => kernel.vunmap(address));
        break;
      case "iounmap":
        this.callVoid(free, { addr }, () => kernel.iounmap(address));
        break;
      case "free_vm_area":
        this.callVoid(free, { addr }, () => kernel.freeVmArea(address));
        break;
      case "vm_unmap_ram":
        this.callVoid(free, { addr, count: pages }, () => kernel.vmUnmapRam(address, pages));
        break;
    }
  }

  private call(name: string, args: object, make: () => number): number {
    alignClocks(this.kernel);
    const address = make();
    this.put({ call: name, n: this.madeCalls++, ...args, ret: address === 0 ? "0x0" : hex(address) });
    this.putEvents();
    return address;
  }

  private callVoid(name: string, args: object, make: () => void): void {
    alignClocks(this.kernel);
    make();
    this.put({ call: name, n: this.madeCalls++, ...args });
    this.putEvents();
  }

  private putEvents(): void {
    for (const event of this.recorder.take()) this.put(event);
  }

  private putState(phase: "init" | "final", { snapshot, vmallocinfo, pageTables, meminfo }: RecordedState): void {
    for (const gap of snapshot.free) {
      this.put({
        [phase]: "free",
        start: hex(gap.start),
        end: hex(gap.end),
        subtree_max: `0x${gap.subtreeMaxSize.toString(16)}`,
        depth: gap.depth,
        black: Number(gap.black),
        kids: Number(gap.hasLeft) + 2 * Number(gap.hasRight),
      });
    }
    for (const { start, end, vaFlags, node, vm } of snapshot.busy) {
      this.put({
        [phase]: "busy",
        start: hex(start),
        end: hex(end),
        va_flags: vaFlags,
        node,
        vm_flags: `0x${(vm?.flags ?? 0).toString(16)}`,
        requested_size: vm?.requestedSizeBytes ?? 0,
        page_order: vm?.pageOrder ?? 0,
      });
    }
    for (const { start, end, vaFlags, node } of snapshot.lazy)
      this.put({ [phase]: "lazy", start: hex(start), end: hex(end), va_flags: vaFlags, node });
    for (const { start, end, vaFlags, node, index, length } of snapshot.pool) {
      this.put({ [phase]: "pool", start: hex(start), end: hex(end), va_flags: vaFlags, node, index, len: length });
    }
    for (const { start, cpu, free, dirty } of snapshot.freeBlocks)
      this.put({ [phase]: "vbfree", start: hex(start), cpu, free, dirty });
    for (const { start, cpu, hash, free, dirty, dirtyMin, dirtyMax } of snapshot.blocks) {
      const range = { dirty_min: dirtyMin, dirty_max: dirtyMax };
      this.put({ [phase]: "vb", start: hex(start), cpu, hash, free, dirty, ...range });
    }
    for (const line of pageTables) this.put({ [`${phase}_ptdump`]: line });
    this.put({ [`${phase}_vmallocinfo`]: vmallocinfo });
    for (const line of meminfo) this.put({ [`${phase}_meminfo`]: line });
  }

  private put(line: object | RecordedEvent): void {
    this.lines.push(JSON.stringify(line));
  }
}
