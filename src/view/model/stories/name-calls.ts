/** Gives what is done on a machine from outside, and what its threads call, names in the accounts of cycles: so tracks and costs show it. */
import { ACTIVITY_IDLE, ACTIVITY_OTHER } from "../../../../arch/index.ts";
import type { Kernel } from "../../../machine/kernel.ts";

/** Calls of `Kernel` by the names of the kernel's functions. */
const CALLS = {
  vmalloc: "vmalloc",
  vzalloc: "vzalloc",
  vmallocAlign: "__vmalloc_node",
  vmallocHuge: "vmalloc_huge",
  vmallocRange: "__vmalloc_node_range",
  vrealloc: "vrealloc",
  vfree: "vfree",
  vmap: "vmap",
  vunmap: "vunmap",
  vmMapRam: "vm_map_ram",
  vmUnmapRam: "vm_unmap_ram",
  vmUnmapAliases: "vm_unmap_aliases",
  getVmArea: "get_vm_area",
  getVmAreaRange: "__get_vm_area_caller",
  freeVmArea: "free_vm_area",
  ioremap: "ioremap",
  iounmap: "iounmap",
} as const;

/** Accesses and instructions of a CPU. */
const INSTRUCTIONS = {
  load: "load",
  load64: "load",
  store: "store",
  store64: "store",
  fetch: "fetch",
  invlpg: "INVLPG",
} as const;

type Method = (...values: unknown[]) => unknown;

/** The activity of what is done on a machine from outside at the moment, by event loop. */
const doing = new WeakMap<object, number>();

/**
 * From now on each call that is made on `kernel` from outside, each access of a CPU outside of all calls, and each call of a workload's
 * thread is an activity of its own.
 */
export function nameCalls(kernel: Kernel): void {
  kernel.namesCalls = true;
  const { loop } = kernel.machine;
  // A call from outside begins as other code, whatever its CPU did.
  const enterSync = loop.enterSync;
  loop.enterSync = (cpu) => {
    enterSync.call(loop, cpu);
    const activity = doing.get(loop);
    if (activity !== undefined) loop.accounts.enter(cpu, activity);
  };
  for (const [method, name] of Object.entries(CALLS))
    standBefore(kernel, kernel, method, name, () => kernel.currentCpu);
  for (const cpu of kernel.machine.cpus) {
    for (const [method, name] of Object.entries(INSTRUCTIONS)) standBefore(kernel, cpu, method, name, () => cpu.id);
  }
}

/** Enters the activity before a method and leaves it after, where its CPU is in no other. */
function standBefore(kernel: Kernel, owner: object, method: string, name: string, cpuOf: () => number): void {
  const methods = owner as Record<string, Method>;
  const own = methods[method];
  methods[method] = (...values) => named(kernel, cpuOf(), name, () => own.apply(owner, values));
}

/** Does something on a CPU under a name in the accounts, where the CPU does nothing else that has one. */
export function named<T>(kernel: Kernel, cpu: number, name: string, act: () => T): T {
  const { loop } = kernel.machine;
  const { accounts } = loop;
  const outer = accounts.current[cpu];
  if (loop.isRunning || (outer !== ACTIVITY_OTHER && outer !== ACTIVITY_IDLE)) return act();
  const activity = accounts.activity(name);
  accounts.enter(cpu, activity);
  doing.set(loop, activity);
  try {
    return act();
  } finally {
    doing.delete(loop);
    accounts.enter(cpu, outer);
  }
}
