/** How vread_iter, behind /proc/kcore, decides what it may read. */
import { vread } from "../../../../mm/index.ts";
import { VM_IOREMAP } from "../../../../mm/vmalloc/areas/vm-structs.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import { named } from "./name-calls.ts";
import { hex, type Story } from "./story.ts";

const PAGE = 4096;
/** Where there is no memory, only a device. */
const DEVICE = 0x1_0000_0000;

export const vreadFlags: Story = {
  name: "vread-flags",
  title: "vread through the flags",
  summary:
    "/proc/kcore reads any kernel address: what an area's flags say decides whether its bytes are read, or zeros given.",
  machine: { cpus: 1, memoryBytes: 2 ** 28, vmalloc: { vmapNodes: 1 } },
  steps: (kernel) => {
    const [cpu] = kernel.machine.cpus;
    let memory = 0;
    let device = 0;
    let ram = 0;
    let frames: Uint32Array = new Uint32Array(0);
    const at = (address: number, found: string) => ({ found, view: "space", address, cpu: 0 }) as const;
    return [
      {
        title: "An area of vmalloc",
        text: "It has a vm_struct without special flags: vread copies what its pages hold. The guard page behind it is mapped nowhere and reads as zeros, without a fault, as vread walks the tables itself and does not touch the address.",
        act: () => {
          memory = kernel.vmalloc(PAGE, "story+0x10/0x40");
          cpu.store(memory + PAGE - 4, 4, 0x1111);
          return at(memory, `across its end: ${read(kernel, memory + PAGE - 4, 8)}`);
        },
      },
      {
        title: "A device",
        text: `Its vm_struct has VM_IOREMAP (0x${VM_IOREMAP.toString(16)}). Reading a register can do things, so nobody reads it: zeros.`,
        act: () => {
          device = kernel.ioremap(DEVICE, PAGE, "uc", "story+0x20/0x40");
          return at(device, `${hex(device)}: ${read(kernel, device, 4)}`);
        },
      },
      {
        title: "vm_map_ram",
        text: "Its area has no vm_struct at all. Before 6.3 such areas could not be told from those being freed, and were left out; now VMAP_RAM in the flags of the vmap_area says what it is, and VMAP_BLOCK that it is a block cut up by a CPU: only pages that the bitmap has as used are read.",
        act: () => {
          frames = kernel.allocFrames(2);
          ram = kernel.vmMapRam(frames);
          cpu.store(ram, 4, 0x2222);
          return at(ram, `${hex(ram)}: ${read(kernel, ram, 4)}`);
        },
      },
      {
        title: "vm_unmap_ram",
        text: "The bits of its pages are cleared in the bitmap before the block is asked again; the pages behind may belong to others by now, and are not read. The CPU that used them still has the translation: a load there would give the old bytes.",
        act: () => {
          kernel.vmUnmapRam(ram, frames.length);
          return at(ram, `vread: ${read(kernel, ram, 4)}; a load: 0x${cpu.load(ram, 4).toString(16)}`);
        },
      },
      {
        title: "vfree",
        text: "A freed area is in no busy tree, so vread does not find it, however long its flush is owed.",
        act: () => {
          kernel.vfree(memory);
          return at(memory, `${hex(memory)}: ${read(kernel, memory + PAGE - 4, 4)}`);
        },
      },
    ];
  },
};

/** What vread gives, as words: `0x1111 0x0`. */
function read(kernel: Kernel, address: number, sizeBytes: number): string {
  const out = new Uint8Array(sizeBytes);
  named(kernel, 0, "vread", () => kernel.run(() => vread(kernel.vm, address, out)));
  const view = new DataView(out.buffer);
  const words: string[] = [];
  for (let offset = 0; offset < sizeBytes; offset += 4) words.push(`0x${view.getUint32(offset, true).toString(16)}`);
  return words.join(" ");
}
