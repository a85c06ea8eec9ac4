/** How each of the kernel's costs is known, and all of them by name. */
import { assumed, documented, type Origin } from "../../arch/presets/figure.ts";
import type { NamedFigure } from "../../arch/presets/named-figures.ts";
import { DEFAULT_KERNEL_COSTS, type KernelCosts } from "./kernel-costs.ts";

/** For each field of the costs, how its figure is known: fields and nesting as in `KernelCosts`. */
type OriginsOf<T> = {
  readonly [Field in keyof T]: T[Field] extends number | string | readonly number[] ? Origin : OriginsOf<T[Field]>;
};

/** How each of the default costs is known. A cost without an origin does not type-check. */
const DEFAULT_COST_ORIGINS: OriginsOf<KernelCosts> = {
  lock: {
    uncontendedCycles: assumed("an atomic on a line at hand"),
    handOverTransfers: documented(
      "kernel/locking/qspinlock.c: the head of the queue polls the lock's word, then writes it",
    ),
  },
  ipi: {
    destinationMode: documented("Linux's default with x2APIC"),
    sendCycles: assumed("WRMSR to the x2APIC's interrupt command register"),
    latencyCycles: assumed(
      "0.4 us within a socket, 0.8 us between; LATR (ASPLOS 2018): until handled up to 2.7 us on 2 sockets, 6.6 us on 8",
    ),
    entryCycles: assumed("interrupt delivery with speculation barriers"),
    exitCycles: assumed("IRET with speculation barriers"),
    idleWakeCycles: assumed("about 1 us out of C1 by MWAIT; drivers/idle/intel_idle.c reckons with 2 us at most"),
  },
  contextSwitchCycles: assumed("register state and run queue, without MOV to CR3"),
  kernelEntryCycles: assumed("SYSCALL with speculation barriers"),
  kernelExitCycles: assumed("SYSRET with speculation barriers"),
  treeStepCycles: assumed("a dependent load from the second-level cache and a compare"),
  entryWriteCycles: assumed("a store"),
  frameCycles: assumed("a few loads and stores on a per-CPU list"),
  zeroPageCycles: assumed("4096 bytes at 32 a cycle"),
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
      return value.map((each, i) => costFigure(`${name}.${i}`, each, (byDefault as unknown[])[i], origin as Origin));
    }
    if (typeof value === "object") return costFigures(name, value as object, byDefault as object, origin as object);
    return [costFigure(name, value, byDefault, origin as Origin)];
  });
}

function costFigure(name: string, value: unknown, byDefault: unknown, origin: Origin): NamedFigure {
  const unit = typeof value === "number" ? "cycles" : "";
  const known = value === byDefault ? origin : assumed(`given; by default ${String(byDefault)}`);
  return { name, of: "", value: value as number | string, unit, ...known };
}
