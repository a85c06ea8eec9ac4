/** How each of the kernel's costs is known, and all of them by name. */
import { assumed, documented, measured, type Origin } from "../../arch/presets/figure.ts";
import type { NamedFigure } from "../../arch/presets/named-figures.ts";
import { DEFAULT_KERNEL_COSTS, type KernelCosts } from "./kernel-costs.ts";

/** For each field of the costs, how its figure is known: fields and nesting as in `KernelCosts`. */
type OriginsOf<T> = {
  readonly [Field in keyof T]: T[Field] extends number | string
    ? Origin
    : T[Field] extends readonly number[]
      ? readonly Origin[]
      : OriginsOf<T[Field]>;
};

/**
 * Interrupts from core to core: Van Bulck's SGX-Step (GitHub), `app/selftest/apic-ipi`, which counts TSC cycles. Its histogram has the mean; that it is of
 * an Ice Lake Xeon follows from the logs' name (icx) in the script that draws it.
 */
const IPI_MEASURED =
  "SGX-Step, apic-ipi (AEX-Notify, USENIX Security 2023), an Ice Lake Xeon by its logs' name: 935 TSC cycles from before the write to the handler's first instruction";
const IPI_SIBLING =
  "SGX-Step (`latencyCycles.3`) has 1771 where the sender polls on the target's sibling, and draws a laptop's Skylake from 750 to 850";
const IPI_OTHER_SOCKET =
  "0.8 us to the next socket at 2.5 GHz; LATR (ASPLOS 2018): until handled up to 2.7 us on 2 sockets, 6.6 us on 8";

/** How each of the default costs is known. A cost without an origin does not type-check. */
const DEFAULT_COST_ORIGINS: OriginsOf<KernelCosts> = {
  lock: {
    uncontendedCycles: assumed("an atomic on a line at hand"),
    handOverTransfers: documented(
      "kernel/locking/qspinlock.c: the head of the queue polls the lock's word; the release takes its copy, and it reads the word anew",
    ),
  },
  ipi: {
    destinationMode: documented("Linux's default with x2APIC"),
    sendCycles: assumed("WRMSR to the x2APIC's interrupt command register"),
    latencyCycles: [
      assumed(
        "535 TSC cycles, the middle of the range (520 to 550) for which SGX-Step's script (`latencyCycles.3`) draws interrupts of a CPU to itself, less sendCycles",
      ),
      assumed(`as to another core; ${IPI_SIBLING}`),
      measured(`${IPI_MEASURED}, less sendCycles`),
      measured(`${IPI_MEASURED}, less sendCycles`),
      assumed(IPI_OTHER_SOCKET),
      assumed(IPI_OTHER_SOCKET),
    ],
    entryCycles: assumed("registers saved, speculation barriers, accounting of interrupts, their end told to the APIC"),
    exitCycles: assumed("IRET with speculation barriers"),
    idleWakeCycles: assumed("about 1 us out of C1 by MWAIT; drivers/idle/intel_idle.c reckons with 2 us at most"),
  },
  flush: {
    callCycles: measured(
      "Hansen 2014, LKML, Ivy Bridge: one page 1276 cycles, less some 335 of tracing, 246 of the page, 195 of the CPU's own part",
    ),
    localCycles: assumed("interrupts off and on with POPF, a dozen loads and stores"),
    broadcastCpuCycles: assumed("one message through the fabric"),
  },
  pages: {
    listCycles: measured(
      "Brouer, LKML, March 2021, E5-1650 v4: 194 to 199 cycles for a page from a per-CPU list and back; half of it, rounded",
    ),
    freeBatchCycles: assumed(
      "half of the 98 cycles, rounded, that Brouer measured (as above) for a page of a bulk of 64 and its return; what its free alone takes was not",
    ),
    buddyCycles: assumed(
      "some fifty instructions: links, counters, the type of the pageblock. Lu 2018, LKML: most time under zone->lock is misses on struct page, which come to it (`mm/frames/page-lines.ts`)",
    ),
    zeroCallCycles: measured("a call and its return on an EPYC of model 17 (test/silicon/zen4)"),
    slabCycles: measured(
      "Brouer, Linux commit 'slub bulk alloc', i7-4790K at 4 GHz: 42 cycles for an object and its return",
    ),
    tableWalkCycles: assumed("four dependent loads from the caches, with the tests of each entry"),
    chargeCycles: assumed(
      "local_lock_irqsave of the stock, 37 cycles as Brouer measured them (kernel.slab.irqCycles), and some 40 for a reference, memcg_data and two per-CPU counters",
    ),
    unchargeCycles: assumed("memcg_data, a reference and a counter of the batch: no atomics"),
  },
  slab: {
    slowCycles: measured(
      "Brouer, Linux commit 'slub: initial bulk free implementation', i7-4790K: 100 cycles an object and its return when 158 are taken and then given back one by one, 45 when all are of the CPU's slab",
    ),
    irqCycles: measured("the same commit: local_irq_save and local_irq_restore"),
    partialCycles: assumed("links of a list, a flag of the slab, the node's counter"),
    objectCycles: assumed("a store and a step"),
  },
  user: {
    faultCycles: assumed("mapping, entry, reverse mapping and LRU: six atomics and some hundred other instructions"),
    readFaultCycles: assumed(
      "from Torvalds 2014 (costs.pageFault), on a Haswell: the hardware's 1050 cycles are 80.7 % of a loop of faults of the zero page; of the other 251 some 110, assumed, are locks, table and entry",
    ),
    mprotectCycles: assumed("mapping found, tested for merging, accounted; page tables walked from the top"),
    madviseCycles: assumed("mapping found; a gather begun and ended"),
    mmapCycles: assumed("gap found, tested for merging, mapping made and put into the tree, accounted"),
    munmapCycles: assumed("as mprotect, and the mapping is taken out and freed"),
    protectEntryCycles: assumed("an atomic exchange, a store, tests of the page"),
    zapEntryCycles: assumed("two atomics, counters, an entry of the gather"),
    zapZeroPageCycles: assumed("an atomic exchange, tests of the entry"),
    lruCycles: assumed("an atomic, list and statistics"),
    forkCycles: assumed("mm_struct, and some twenty mappings with their tree, reverse mappings and slab objects"),
    copyEntryCycles: assumed("two atomics (references, mappings of the page), the old entry and the new one written"),
    copyPageCycles: assumed(
      "4096 bytes: 256 in the first level at 32 a cycle each way, some 1800 from memory and back",
    ),
  },
  contextSwitchCycles: assumed("register state and run queue, without MOV to CR3"),
  kernelEntryCycles: assumed("SYSCALL with speculation barriers"),
  kernelExitCycles: assumed("SYSRET with speculation barriers"),
  treeStepCycles: assumed("a dependent load from the second-level cache and a compare"),
  entryWriteCycles: assumed("a store"),
  callCycles: assumed("calls, checks, allocation of small structures"),
};

/** All kernel costs by name: `kernel.ipi.sendCycles`, `kernel.ipi.latencyCycles.2` (by distance). One that is not the default is assumed. */
export function kernelFiguresOf(costs: KernelCosts): NamedFigure[] {
  return costFigures("kernel", costs, DEFAULT_KERNEL_COSTS, DEFAULT_COST_ORIGINS);
}

/**
 * The costs with another value for one of them. They are not checked.
 * @param name one of those of `kernelFiguresOf`
 */
export function withKernelCost(costs: KernelCosts, name: string, value: number | string): KernelCosts {
  const [, ...path] = name.split(".");
  return changed(costs, path, value) as KernelCosts;
}

function changed(costs: object, [key, ...rest]: readonly string[], value: number | string): object {
  const field = rest.length === 0 ? value : changed((costs as Fields)[key] as object, rest, value);
  return Array.isArray(costs) ? costs.with(Number(key), field) : { ...costs, [key]: field };
}

type Fields = Readonly<Record<string, unknown>>;

function costFigures(path: string, costs: object, defaults: object, origins: object): NamedFigure[] {
  const originsByField = origins as Fields;
  const defaultsByField = defaults as Fields;
  return Object.entries(costs).flatMap(([field, value]: [string, unknown]): NamedFigure[] => {
    const name = `${path}.${field}`;
    const byDefault = defaultsByField[field];
    const origin = originsByField[field];
    if (Array.isArray(value)) {
      return value.map((each, i) =>
        costFigure(`${name}.${i}`, each, (byDefault as unknown[])[i], (origin as Origin[])[i]),
      );
    }
    if (typeof value === "object") return costFigures(name, value as object, byDefault as object, origin as object);
    return [costFigure(name, value, byDefault, origin as Origin)];
  });
}

function costFigure(name: string, value: unknown, byDefault: unknown, origin: Origin): NamedFigure {
  const unit = typeof value !== "number" ? "" : name.endsWith("Transfers") ? "transfers" : "cycles";
  const known = value === byDefault ? origin : assumed(`given; by default ${String(byDefault)}`);
  return { name, of: "", value: value as number | string, unit, ...known };
}
