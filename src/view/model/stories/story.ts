/** What a story is: a few steps on a machine of its own, each with a sentence or two and a place to look at. */
import { formatLinearAddress16, PageFault } from "../../../../arch/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../machine/kernel.ts";

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
  /** What happened in it line by line, where one line does not say it. */
  readonly lines?: readonly string[];
}

/** One step. */
export interface StoryStep {
  readonly title: string;
  /** What happens and why, in a few sentences. */
  readonly text: string;
  /** Makes it happen. */
  readonly act: () => Act;
}

/** What the list says of a story. */
interface StoryHead {
  readonly name: string;
  readonly title: string;
  /** One sentence for the list. */
  readonly summary: string;
  /** What `verify` finds at some of its steps, where it does on purpose what a kernel must not; absent: nothing. */
  readonly provokes?: RegExp;
}

/** A story on a machine that is booted for it. */
interface StoryOnMachine extends StoryHead {
  readonly machine: Partial<KernelConfig>;
  /** Its steps on that machine; they share what they know of it. */
  steps(kernel: Kernel): readonly StoryStep[];
}

/** A story that makes its machine itself. */
interface StoryWithMachine extends StoryHead {
  open(): OpenStory;
}

/** A story that can begin. */
export interface OpenStory {
  readonly kernel: Kernel;
  readonly steps: readonly StoryStep[];
}

/** A guided scenario. */
export type Story = StoryOnMachine | StoryWithMachine;

/** Boots the machine of a story. */
export function openStory(story: Story): OpenStory {
  if ("open" in story) return story.open();
  const kernel = bootKernel(story.machine);
  return { kernel, steps: story.steps(kernel) };
}

/** A linear address as the kernel writes it. */
export const hex = formatLinearAddress16;

/** What a load on a CPU gives, in words: `CPU 0 loads 42`, `CPU 1 faults: #PF(0) at ...`. */
export function tryLoad(kernel: Kernel, cpu: number, address: number): string {
  try {
    return `CPU ${cpu} loads ${kernel.machine.cpus[cpu].load(address, 4)}`;
  } catch (fault) {
    if (!(fault instanceof PageFault)) throw fault;
    return `CPU ${cpu} faults: ${fault.message}`;
  }
}

/** What a store on a CPU does, in words: `CPU 0 stores 7`, `CPU 0 faults: #PF(P|W) at ...`. */
export function tryStore(kernel: Kernel, cpu: number, address: number, value: number): string {
  try {
    kernel.machine.cpus[cpu].store(address, 4, value);
    return `CPU ${cpu} stores ${value}`;
  } catch (fault) {
    if (!(fault instanceof PageFault)) throw fault;
    return `CPU ${cpu} faults: ${fault.message}`;
  }
}

/** How many cycles `cpu` walks page tables during `act`. */
export function walkCycles(kernel: Kernel, cpu: number, act: () => void): number {
  const { mmu } = kernel.machine.cpus[cpu];
  const before = mmu.walkCycleCount;
  act();
  return Math.round(mmu.walkCycleCount - before);
}
