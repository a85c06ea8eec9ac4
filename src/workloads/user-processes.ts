/**
 * The `user_processes` workload: user processes that map and unmap memory and take turns on the CPUs, while the kernel
 * behind them allocates and frees with vmalloc: shootdowns of user addresses beside flushes of kernel ones. Processes use
 * their memory in user mode and compute there, so that flushes which leave user mode alone have something to leave alone.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { compute } from "../../arch/time/event-loop.ts";
import { type MmStruct, mmapPopulate, munmap, UserSpaces } from "../../mm/index.ts";
import { integerParameter } from "../input/parameters.ts";
import type { WorkloadCode, WorkloadThread } from "./base/context.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** Where each process begins to map, and how far apart its mappings lie. */
const USER_BASE = 0x5555_0000_0000;
const USER_STEP = 2 ** 24;
const PAGES_MAX = 64;
const KERNEL_LIVE = 32;

interface Process {
  readonly mm: MmStruct;
  readonly mappings: { readonly start: number; readonly pages: number }[];
  nextStart: number;
}

interface Shared {
  readonly spaces: UserSpaces;
  /** Shootdown interrupts taken before the workload began. */
  readonly shootdownsBefore: number;
  readonly processes: Process[];
  readonly switchEvery: number;
  readonly userCycles: number;
  switches: number;
}

/** User processes with vmalloc beside them. */
export const userProcesses = threadWorkload<Shared>({
  name: "user_processes",
  summary: "processes that map, unmap and switch contexts on all CPUs, with vmalloc beside them",
  parameters: [
    { name: "processes", kind: "integer", default: 4, low: 1, high: 1000, summary: "address spaces" },
    {
      name: "switch_every",
      kind: "integer",
      default: 8,
      low: 1,
      high: 1e9,
      summary: "operations between two switches",
    },
    {
      name: "user_cycles",
      kind: "integer",
      default: 2000,
      low: 0,
      high: 1e9,
      summary: "cycles that a process computes in user mode after each system call",
    },
  ],
  setUp(kernel, parameters) {
    const spaces = UserSpaces.of(kernel.mm);
    const shootdownsBefore = shootdownsOf(spaces);
    const processes = Array.from({ length: integerParameter(parameters, "processes") }, () => ({
      mm: spaces.mmAlloc(),
      mappings: [],
      nextStart: USER_BASE,
    }));
    const switchEvery = integerParameter(parameters, "switch_every");
    return {
      spaces,
      shootdownsBefore,
      processes,
      switchEvery,
      userCycles: integerParameter(parameters, "user_cycles"),
      switches: 0,
    };
  },
  *thread(thread, shared) {
    const kept: number[] = [];
    let process = shared.processes[thread.cpu % shared.processes.length];
    shared.spaces.switchTo(process.mm);
    for (let i = 1; i <= thread.operations; i++) {
      yield* thread.turn();
      if (i % shared.switchEvery === 0) {
        process = shared.processes[thread.random.between(0, shared.processes.length - 1)];
        shared.spaces.switchTo(process.mm);
        shared.switches++;
      }
      const roll = thread.random.between(1, 10);
      if (roll <= 3) yield* map(thread, shared, process);
      else if (roll <= 6) yield* unmap(thread, shared, process);
      else if (roll <= 8 && kept.length < KERNEL_LIVE) {
        const address = yield* thread.vmalloc(thread.random.between(1, 32) * PAGE_SIZE);
        if (address === 0) continue;
        thread.store(address, address | 0);
        kept.push(address);
      } else if (kept.length > 0) {
        const [address] = kept.splice(thread.random.between(0, kept.length - 1), 1);
        thread.expect(address, address | 0);
        yield* thread.vfree(address);
      }
    }
    shared.spaces.switchTo(null);
  },
  report: (_, { switches, spaces, shootdownsBefore }) => {
    const shootdowns = shootdownsOf(spaces) - shootdownsBefore;
    return {
      lines: [`${switches} context switches; ${shootdowns} shootdown interrupts taken for user addresses`],
      details: { contextSwitches: switches, userShootdowns: shootdowns },
    };
  },
});

function shootdownsOf({ shootdowns }: UserSpaces): number {
  return shootdowns.reduce((sum, count) => sum + count, 0);
}

function* map(thread: WorkloadThread, shared: Shared, process: Process): WorkloadCode {
  const pages = thread.random.between(1, PAGES_MAX);
  const start = process.nextStart;
  process.nextStart += USER_STEP;
  const result = yield* thread.call("mmap", mmapPopulate(shared.spaces, process.mm, start, pages));
  if (result < 0) return;
  yield* inUserMode(thread, shared, () => {
    for (let page = 0; page < pages; page++) thread.store(start + page * PAGE_SIZE, (start + page) | 0);
  });
  process.mappings.push({ start, pages });
}

function* unmap(thread: WorkloadThread, shared: Shared, process: Process): WorkloadCode {
  const { mappings } = process;
  if (mappings.length === 0) return;
  const [{ start, pages }] = mappings.splice(thread.random.between(0, mappings.length - 1), 1);
  yield* inUserMode(thread, shared, () => {
    for (let page = 0; page < pages; page++) thread.expect(start + page * PAGE_SIZE, (start + page) | 0);
  });
  yield* thread.call("munmap", munmap(shared.spaces, process.mm, start, start + pages * PAGE_SIZE));
}

/** The process uses its memory and computes, until its next system call. */
function* inUserMode(thread: WorkloadThread, shared: Shared, use: () => void): WorkloadCode {
  const { vm, machine } = thread.kernel;
  vm.flushing.userMode.enterUser();
  use();
  const { currentThread } = machine.loop;
  if (currentThread !== null) yield* compute(currentThread, shared.userCycles);
  vm.flushing.userMode.enterKernel();
}
