/** What PCIDs keep over a context switch, and how a flush that nobody sent is caught up with. */
import { DONE, type MmStruct, mmapPopulate, munmap, UserSpaces } from "../../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../machine/kernel.ts";
import { named } from "./name-calls.ts";
import { type Story, type StoryStep, tryLoad, walkCycles } from "./story.ts";

const START = 0x400000;
const PAGE = 4096;

export const pcids: Story = {
  name: "pcids",
  title: "PCIDs over a context switch",
  summary:
    "Two processes use the same address on one CPU; their translations live side by side, and one that was unmapped meanwhile is flushed only when its process comes back.",
  open() {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
    const spaces = UserSpaces.of(kernel.mm);
    const mms = [spaces.mmAlloc(), spaces.mmAlloc()];
    return { kernel, steps: stepsOf(kernel, spaces, mms) };
  },
};

function stepsOf(kernel: Kernel, spaces: UserSpaces, [first, second]: readonly MmStruct[]): StoryStep[] {
  const look = { view: "tlbs", address: START, cpu: 0 } as const;
  return [
    {
      title: "Process A runs on both CPUs",
      text: "A page is mapped at 0x400000 in A, and both CPUs store to it. The translation is not global: it carries the PCID under which A is loaded, ASID 1 and so PCID 2.",
      act: () => {
        for (const mm of [first, second])
          named(kernel, 0, "mmap", () => kernel.run(() => mmapPopulate(spaces, mm, START, 1)));
        for (const cpu of [1, 0]) {
          switchTo(kernel, spaces, cpu, first);
          kernel.machine.cpus[cpu].store(START, 4, 11);
        }
        return { found: `${tryLoad(kernel, 0, START)}; PCID ${kernel.machine.cpus[0].mmu.mode.pcid}`, ...look };
      },
    },
    {
      title: "CPU 0 switches to process B",
      text: "B gets another ASID of this CPU. MOV to CR3 loads its tables; bit 63 of the value decides whether the entries of its PCID are flushed. A's translation stays in the TLB. It is of another PCID, so B cannot hit it: B walks to its own page at the same address.",
      act: () => {
        switchTo(kernel, spaces, 0, second);
        kernel.machine.cpus[0].store(START, 4, 22);
        return { found: `${tryLoad(kernel, 0, START)}; PCID ${kernel.machine.cpus[0].mmu.mode.pcid}`, ...look };
      },
    },
    {
      title: "Back to A",
      text: "A's translations are still valid, so CR3 is written with bit 63 set and nothing is flushed. The load hits.",
      act: () => {
        switchTo(kernel, spaces, 0, first);
        let loaded = "";
        const cycles = walkCycles(kernel, 0, () => {
          loaded = tryLoad(kernel, 0, START);
        });
        return { found: `${loaded}; ${cycles} cycles of page walks`, ...look };
      },
    },
    {
      title: "B on CPU 0, while CPU 1 unmaps A's page",
      text: "CPU 0 left A, so it is not in A's mm_cpumask: munmap on CPU 1 flushes there and sends no interrupt. A's tlb_gen grows. What CPU 0 has of A is stale now, but under a PCID that is not loaded nobody can use it.",
      act: () => {
        switchTo(kernel, spaces, 0, second);
        named(kernel, 1, "munmap", () => kernel.run(() => munmap(spaces, first, START, START + PAGE), 1));
        return { found: `A's tlb_gen is ${first.tlbGen}; CPU 0 got ${spaces.shootdowns[0]} interrupts`, ...look };
      },
    },
    {
      title: "CPU 0 goes back to A",
      text: "switch_mm_irqs_off compares the generation that CPU 0 has seen of A with A's own. It is behind: CR3 is written without bit 63, and everything of A's PCID goes. The load walks, and faults as it must.",
      act: () => {
        switchTo(kernel, spaces, 0, first);
        return { found: tryLoad(kernel, 0, START), ...look };
      },
    },
  ];
}

function switchTo(kernel: Kernel, spaces: UserSpaces, cpu: number, mm: MmStruct): void {
  const switches = () => {
    spaces.switchTo(mm);
    return DONE;
  };
  named(kernel, cpu, "switch_mm", () => kernel.run(switches, cpu));
}
