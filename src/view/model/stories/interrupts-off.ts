/** A shootdown that has to wait. */
import { compute, type KernelCode } from "../../../../arch/index.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import type { Story } from "./story.ts";

const OFF_CYCLES = 60_000;

export const interruptsOff: Story = {
  name: "interrupts-off",
  title: "A shootdown with interrupts off",
  summary:
    "One CPU has its interrupts off; the CPU that flushes waits for it, busy, and holds the purge lock meanwhile.",
  machine: { cpus: 4, memoryBytes: 2 ** 28 },
  steps: (kernel) => {
    let address = 0;
    return [
      {
        title: "A page that all CPUs use, freed",
        text: "Every CPU has its translation, and every one of them is stale.",
        act: () => {
          address = kernel.vmalloc(4096, "story+0x10/0x40");
          for (const cpu of kernel.machine.cpus) cpu.load(address, 4);
          kernel.vfree(address);
          return { found: `${kernel.vm.lazyNr} pages are lazily freed`, view: "tlbs", address, cpu: 2 };
        },
      },
      {
        title: "CPU 2 turns its interrupts off",
        text: "A driver of CPU 2 works with interrupts off for 60,000 cycles, about as long as a bad one does. Meanwhile CPU 0 purges: its interrupts reach CPUs 1 and 3, which flush and acknowledge within a microsecond. CPU 2 does not see its own until it turns interrupts on, and CPU 0 waits, spinning.",
        act: () => {
          const { loop } = kernel.machine;
          loop.clockCycles.fill(Math.max(...loop.clockCycles));
          const before = loop.clockCycles[0];
          kernel.spawn("driver", 2, driver(kernel));
          // It begins before the purge does.
          let steps = 0;
          loop.run(() => steps++ === 1);
          kernel.vmUnmapAliases();
          kernel.runUntilIdle();
          const waited = Math.round(loop.clockCycles[0] - before);
          return { found: `the purge took ${waited} cycles of CPU 0`, view: "time", address, cpu: 0 };
        },
      },
      {
        title: "The same purge, nobody busy",
        text: "Another page, the same purge, all CPUs with interrupts on: compare the lengths.",
        act: () => {
          const { loop } = kernel.machine;
          const again = kernel.vmalloc(4096, "story+0x20/0x40");
          for (const cpu of kernel.machine.cpus) cpu.load(again, 4);
          kernel.vfree(again);
          const before = loop.clockCycles[0];
          kernel.vmUnmapAliases();
          const waited = Math.round(loop.clockCycles[0] - before);
          return { found: `the purge took ${waited} cycles of CPU 0`, view: "time", address: again, cpu: 0 };
        },
      },
    ];
  },
};

function* driver(kernel: Kernel): KernelCode<void> {
  const { loop } = kernel.machine;
  const thread = loop.currentThread;
  if (thread === null) return;
  loop.disableInterrupts();
  yield* compute(thread, OFF_CYCLES);
  loop.enableInterrupts();
}
