/** What a story is: a few steps on a machine of its own, each with a sentence or two and a place to look at. */
import { PageFault } from "../../../../arch/index.ts";
import type { Kernel, KernelConfig } from "../../../machine/kernel.ts";

/** The views of the page. */
export const VIEW_NAMES = ["space", "tables", "tlbs", "time"] as const;
export type ViewName = (typeof VIEW_NAMES)[number];

/** Where a step wants one to look. */
export interface Look {
  readonly view?: ViewName;
  /** A linear address to walk; 0 for none. */
  readonly address?: number;
  readonly cpu?: number;
}

/** What a step found on the machine, in one line, and where to look. */
export interface Act extends Look {
  readonly found: string;
}

/** One step. */
export interface StoryStep {
  readonly title: string;
  /** What happens and why, in a few sentences. */
  readonly text: string;
  /** Makes it happen. */
  readonly act: () => Act;
}

/** A guided scenario. */
export interface Story {
  readonly name: string;
  readonly title: string;
  /** One sentence for the list. */
  readonly summary: string;
  readonly machine: Partial<KernelConfig>;
  /** Its steps on a machine that was booted for it; they share what they know of it. */
  steps(kernel: Kernel): readonly StoryStep[];
}

/** What a load on a CPU gives, in words: `CPU 0 loads 42`, `CPU 1 faults: #PF(0) at ...`. */
export function tryLoad(kernel: Kernel, cpu: number, address: number): string {
  try {
    return `CPU ${cpu} loads ${kernel.machine.cpus[cpu].load(address, 4)}`;
  } catch (fault) {
    if (!(fault instanceof PageFault)) throw fault;
    return `CPU ${cpu} faults: ${fault.message}`;
  }
}
