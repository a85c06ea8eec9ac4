/** The figures that a result rests on: of the microarchitecture and of the kernel, each with how it is known. */
import {
  countByBasis,
  type FiguresUsed,
  figuresOf,
  type NamedFigure,
  type Origin,
  type Preset,
} from "../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, type KernelCosts, kernelFiguresOf } from "../../mm/index.ts";
import { HYPERVISOR_COSTS, hypervisorFigures } from "../guests/hypervisor-costs.ts";
import type { Kernel, KernelConfig } from "../machine/kernel.ts";
import { counted } from "./counted.ts";

/** How many figures a result rests on, by how they are known. */
export interface FigureCounts {
  readonly measured: number;
  readonly documented: number;
  readonly assumed: number;
}

/** All figures that play a part in a machine with this preset and a kernel with these costs, above a host with those where it is a guest. */
export function figuresOfMachine(
  preset: Preset,
  costs: KernelCosts = DEFAULT_KERNEL_COSTS,
  used: FiguresUsed = {},
  hypervisorCosts = HYPERVISOR_COSTS,
): NamedFigure[] {
  const ofHost = used.guests === true ? hypervisorFigures(hypervisorCosts) : [];
  return [...figuresOf(preset, used), ...kernelFiguresOf(costs), ...ofHost];
}

/** What of a preset a kernel with these settings uses. */
export function figuresUsed(
  config: Pick<Partial<KernelConfig>, "mitigations" | "idleStates">,
  guests: boolean,
): FiguresUsed {
  const { mitigations = "off", idleStates } = config;
  return { guests, mitigations: mitigations !== "off", idleStates: idleStates !== undefined };
}

/** How many of them are known in each way. */
export function figureCounts(figures: readonly Origin[]): FigureCounts {
  return countByBasis(figures);
}

/** How many figures a kernel rests on, that it is a guest included. */
export function figureCountsOf({ machine, config, host }: Kernel): FigureCounts {
  return figureCounts(figuresOfMachine(machine.preset, config.costs, figuresUsed(config, host !== null), host?.costs));
}

/** `118 figures of the machine: 31 measured, 27 documented, 60 assumed`. @param what the words after the first number */
export function figureSentence(
  { measured, documented, assumed }: FigureCounts,
  what = "figures of the machine",
): string {
  const all = measured + documented + assumed;
  return `${all} ${what}: ${measured} measured, ${documented} documented, ${assumed} assumed`;
}

/** A value with its unit: `9 cycles`, `1 set`. */
export function figureValue({ value, unit }: Pick<NamedFigure, "value" | "unit">): string {
  if (unit === "" || typeof value === "string") return String(value);
  return counted(value, SINGULAR[unit] ?? unit, unit);
}

/** Units of one of a thing. */
const SINGULAR: Readonly<Record<string, string>> = {
  accesses: "access",
  bits: "bit",
  bytes: "byte",
  cores: "core",
  cycles: "cycle",
  PCIDs: "PCID",
  sets: "set",
  walkers: "walker",
  ways: "way",
};
