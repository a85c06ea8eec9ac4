/** The figures that results rest on: costs of the microarchitecture and of the kernel, with their sources. */
import type { Preset } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, type KernelCosts } from "../../../mm/index.ts";
import type { Input } from "./experiment.ts";

/** Where each kernel cost comes from; see `mm/kernel/kernel-costs.ts`. */
const KERNEL_SOURCES: Readonly<Record<string, string>> = {
  "lock.uncontendedCycles": "[M] an atomic on a line at hand",
  "lock.transferCycles": "[C] middle of 50 to 100 ns within a socket, 100 to 300 ns between sockets [M], at 2.5 GHz",
  "ipi.destinationMode": "Linux's default with x2APIC",
  "ipi.queueCycles": "[C] one cache line moves, as for a lock",
  "ipi.sendCycles": "[M] WRMSR to the interrupt command register",
  "ipi.latencyCycles": "[M] 0.4 us within a socket, 0.8 us between sockets",
  "ipi.entryCycles": "[M] interrupt delivery with speculation barriers",
  "ipi.exitCycles": "[M] IRET with speculation barriers",
  "ipi.requestCycles": "[C] one cache line moves",
  "ipi.ackCycles": "[C] one cache line moves",
  contextSwitchCycles: "[M] without MOV to CR3",
  kernelEntryCycles: "[M] SYSCALL",
  kernelExitCycles: "[M] SYSRET",
  treeStepCycles: "[M] a dependent load and a compare",
  entryWriteCycles: "[M] a store",
  frameCycles: "[M] loads and stores on a per-CPU list",
  zeroPageCycles: "[C] 4096 bytes at 32 a cycle",
  callCycles: "[M] calls, checks, small allocations",
};

/** All inputs of a run with `preset` and these kernel costs. */
export function inputsOf(preset: Preset, costs: KernelCosts = DEFAULT_KERNEL_COSTS): Input[] {
  const hardware = Object.entries(preset.costs).map(([name, figure]) => ({
    name: `${preset.name}.${name}`,
    value: `${figure.value} ${figure.unit}`,
    source: figure.source,
  }));
  const caches = preset.dataCaches.map(({ name, hitCycles }) => ({
    name: `${preset.name} ${name}, entry fetched by a walk`,
    value: `${hitCycles.value} ${hitCycles.unit}`,
    source: hitCycles.source,
  }));
  const kernel = flatten(costs).map(([name, value]) => ({
    name: `kernel.${name}`,
    value,
    source: KERNEL_SOURCES[name] ?? "",
  }));
  const frequency = {
    name: `${preset.name}.frequencyGhz`,
    value: `${preset.frequencyGhz.value} ${preset.frequencyGhz.unit}`,
    source: preset.frequencyGhz.source,
  };
  const memory = {
    name: `${preset.name} memory, entry fetched by a walk`,
    value: `${preset.memory.value} ${preset.memory.unit}`,
    source: preset.memory.source,
  };
  const tlbs = preset.tlbs.map(({ name, sets, ways, pcidCapacity, source }) => ({
    name: `${preset.name} ${name}`,
    value: `${sets * ways} entries, ${ways}-way${pcidCapacity === undefined ? "" : `, ${pcidCapacity} PCIDs`}`,
    source,
  }));
  return [frequency, ...hardware, ...tlbs, ...caches, memory, ...kernel];
}

function flatten(costs: object, prefix = ""): [string, string][] {
  return Object.entries(costs).flatMap(([key, value]): [string, string][] => {
    if (Array.isArray(value)) return [[prefix + key, `${value.join(", ")} cycles by distance`]];
    if (typeof value === "object" && value !== null) return flatten(value, `${prefix}${key}.`);
    return [[prefix + key, typeof value === "number" ? `${value} cycles` : String(value)]];
  });
}
