/**
 * The machine: start here.
 *
 *   Machine
 *   ├── memory: PhysicalMemory      frames, sparse; page tables live here       memory/, isa/pte.ts
 *   ├── hostMemory                  the machine's, where `memory` is a guest's  memory/host-memory.ts
 *   ├── loop: EventLoop             a cycle clock a CPU, interleaving, IPIs     time/event-loop.ts, thread.ts, ready-queue.ts
 *   │   ├── accounts                what every cycle of every CPU went to       time/cycle-accounts.ts
 *   │   ├── lines                   cache lines that CPUs share, and who has them  time/shared-lines.ts
 *   │   ├── sharedCores             hardware threads of a core that execute at the same time  time/shared-cores.ts
 *   │   └── topology                threads, cores, clusters, sockets, distances  time/topology.ts
 *   └── cpus: Cpu[]                 load, store, fetch; instructions            cpu/cpu-memory.ts, cpu.ts
 *       ├── registers               CR0, CR3, CR4, EFER, PKRU, CPL: checked     cpu/control-registers.ts
 *       ├── invalidations           INVLPG, INVPCID, INVLPGB, TLBSYNC           cpu/invalidations.ts
 *       ├── remoteActions           what other CPUs have it do (Intel's RAR)    cpu/remote-actions.ts
 *       ├── virtualization          VM entry and exit, INVEPT, INVVPID, INVLPGA cpu/virtualization.ts, vcpu.ts
 *       ├── memoryTypes             PAT and MTRRs                               walk/memory-type.ts
 *       ├── independent             accesses that do not wait for each other    cpu/independent-accesses.ts, time/overlap-window.ts
 *       └── mmu: Mmu                TLB lookup, else a walk, else a fault       cpu/mmu.ts
 *           ├── mode                what the registers mean for each access     isa/paging-mode.ts, access.ts
 *           ├── tlbs                both levels, and their refills              tlb/tlb-hierarchy.ts, tlb.ts
 *           │   └── replacement     what a set evicts next                      tlb/replacement-state.ts
 *           ├── structures          paging-structure caches                     tlb/paging-structure-caches.ts
 *           ├── walker              the page walk, A and D bits                 walk/page-walk.ts
 *           ├── guest.walker            the walk of a guest, in two dimensions      walk/guest-walk.ts, second-stage.ts
 *           ├── walkCaches          data caches that entries come through       tlb/walk-caches.ts
 *           ├── fastPath            the host's shortcut for frequent accesses   fast-path/README.md
 *           ├── arrays              where all of their numbers lie              tlb/cpu-arrays.ts
 *           ├── counts              event counters                              time/perf-counters.ts
 *           └── attribution         refills that a flush made necessary         tlb/flush-attribution.ts
 *
 * An access: `Cpu.load` asks the fast path; what this leaves goes to `Mmu.translate`, which asks `tlbs`, then has `walker` walk
 * from what `structures` knows, and fills `tlbs` or raises a `PageFault` (isa/faults.ts). Microarchitectures are data: presets/.
 */
import { Cpu } from "./cpu/cpu.ts";
import { type CheckedConfig, checkConfig, type MachineConfig } from "./cpu/machine-config.ts";
import { ChunkReserve } from "./memory/chunk-reserve.ts";
import { HostMemory } from "./memory/host-memory.ts";
import { PhysicalMemory } from "./memory/physical-memory.ts";
import type { CpuFeatures, Preset } from "./presets/preset.ts";
import { EventLoop } from "./time/event-loop.ts";
import { lineTransferCycles } from "./time/line-transfer-cycles.ts";
import { Topology } from "./time/topology.ts";
import { CommonArrays } from "./tlb/cpu-arrays.ts";
import type { TakeBytes } from "./tlb/line-cache.ts";

export type { MachineConfig } from "./cpu/machine-config.ts";

/**
 * CPUs, at the most, whose arrays are buffers of their own: who watches a machine step by step tells by them what is one CPU's
 * (`src/view/model/journal`). V8 collects garbage by the buffers that are made: with 1,024 of them `run mixed` took 2.29 s in place of 2.17.
 */
const OWN_BUFFERS_MAX = 64;

/** Takes bytes, the same number each time, from buffers that are common to all who take. */
function takeFromReserve(): TakeBytes {
  const reserve = new ChunkReserve();
  return (bytes) => {
    const { buffer, byteOffset } = reserve.take(bytes / Int32Array.BYTES_PER_ELEMENT);
    return [buffer, byteOffset];
  };
}

/**
 * Memory, clocks and CPUs. Its CPUs run in 64-bit mode with paging on, CPL 0, and CR0, CR4 (PAE, PGE) and EFER (NXE) as Linux
 * sets them early; CR3 is 0, so nothing is mapped until `writeCr3`.
 */
export class Machine {
  /** The settings, all filled in. */
  readonly config: CheckedConfig;
  /** The microarchitecture. */
  readonly preset: Preset;
  /** What the CPUs can do. */
  readonly features: CpuFeatures;
  /** Physical memory, as programs address it. */
  readonly memory: PhysicalMemory;
  /** The machine's memory where `memory` is that of a guest (`MachineConfig.hostMemoryBytes`); else null. */
  readonly hostMemory: HostMemory | null;
  /** The memory that the physical addresses of accesses and of walks are of: `hostMemory` where there is one, else `memory`. */
  readonly systemMemory: PhysicalMemory;
  /** Clocks, threads and interrupts. */
  readonly loop: EventLoop;
  /** The CPUs by number; there is one at least. */
  readonly cpus: readonly [Cpu, ...Cpu[]];

  /** @throws MachineUsageError for a setting, or a field of a preset, that is not possible */
  constructor(config: MachineConfig = {}) {
    this.config = checkConfig(config);
    const { preset, features, maxPhyAddr, pagingLevels: levels } = this.config;
    this.preset = preset;
    this.features = features;
    this.memory = new PhysicalMemory(this.config.memoryBytes);
    const { hostMemoryBytes } = config;
    this.hostMemory = hostMemoryBytes === undefined ? null : new HostMemory(hostMemoryBytes, this.memory);
    this.systemMemory = this.hostMemory ?? this.memory;
    const { cpus: count, topology } = this.config;
    const clusterCores = preset.lineTransfers.coresPerCluster.value;
    this.loop = new EventLoop(count, new Topology(count, topology, clusterCores === 0 ? undefined : clusterCores));
    this.loop.lines.transferCycles = lineTransferCycles(preset);
    this.loop.shareCores(preset.sharedCore.throughput.value);
    const cpus: Cpu[] = [];
    const { systemMemory: memory, loop } = this;
    const takeCacheBytes = takeFromReserve();
    const { physicalCpus } = this.config;
    // Virtual CPUs have the TLBs of others, which are in the arrays of those.
    const isCommon = count > OWN_BUFFERS_MAX && physicalCpus === count;
    const commonArrays = isCommon ? new CommonArrays(count) : undefined;
    const parts = { memory, takeCacheBytes, commonArrays, loop, preset, features, maxPhyAddr, levels };
    for (let id = 0; id < count; id++) {
      cpus.push(new Cpu(id, id < physicalCpus ? parts : { ...parts, shared: cpus[id % physicalCpus].caches }, cpus));
    }
    // checkConfig has refused a machine without CPUs.
    this.cpus = cpus as [Cpu, ...Cpu[]];
    this.loop.accounts.walkCyclesOf = (id) => cpus[id].mmu.walkCycleCount;
  }
}
