/** vfree of what was freed. */
import type { Story } from "./story.ts";

export const doubleFree: Story = {
  name: "double-free",
  title: "A double free",
  summary: "The second vfree finds no area: the kernel warns once and carries on.",
  machine: { cpus: 1, memoryBytes: 2 ** 28 },
  steps: (kernel) => {
    let address = 0;
    const warned = (): string => kernel.log.lines.at(-1) ?? "the kernel's log is empty";
    return [
      {
        title: "vmalloc of two pages",
        text: "The area goes to the busy tree of the node that its address belongs to.",
        act: () => {
          address = kernel.vmalloc(8192, "story+0x10/0x40");
          return { found: warned(), view: "space", address, cpu: 0 };
        },
      },
      {
        title: "vfree",
        text: "The area leaves the busy tree and waits on a lazy list.",
        act: () => {
          kernel.vfree(address);
          return { found: warned(), view: "space", address, cpu: 0 };
        },
      },
      {
        title: "vfree again",
        text: "No busy area begins at this address. The kernel cannot know whose mistake it is: it warns, with a trace of who called, and returns. Nothing is freed twice.",
        act: () => {
          kernel.vfree(address);
          return { found: warned(), view: "space", address, cpu: 0 };
        },
      },
    ];
  },
};
