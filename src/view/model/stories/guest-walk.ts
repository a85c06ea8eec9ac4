/** A kernel that is a guest: each entry of its page tables is found through the hypervisor's. */
import { formatProbe } from "../../../../arch/walk/probe.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import type { Story } from "./story.ts";
import { hex, tryLoad, tryStore, walkCycles } from "./story.ts";

const PAGE = 4096;

export const guestWalk: Story = {
  name: "guest-walk",
  title: "A guest's walk in two dimensions",
  summary:
    "In a virtual machine each address that a walk reads from is a guest-physical one, which the hypervisor's tables translate first.",
  machine: { cpus: 1, memoryBytes: 2 ** 28, guest: { hostPages: "4K" } },
  steps: (kernel) => {
    let address = 0;
    return [
      {
        title: "vmalloc in a guest",
        text: "The kernel runs in a virtual machine and does what it does elsewhere: room, a frame, an entry. The frame's number is a guest-physical one. The hypervisor below gives memory when it is touched, and it does not know of these pages yet.",
        act: () => {
          address = kernel.vmalloc(2 * PAGE, "story+0x10/0x40");
          return { found: `vmalloc gave ${hex(address)}`, view: "space", address, cpu: 0 };
        },
      },
      {
        title: "The first store",
        text: "The walk needs the guest's tables, and the page: what of them the hypervisor has not mapped ends in an EPT violation. The CPU leaves the guest, the hypervisor finds a page and maps it, and the guest makes its access again. The guest's kernel sees nothing of this but the time.",
        act: () => {
          const before = violations(kernel);
          const stored = tryStore(kernel, 0, address, 42);
          return { found: `${stored}; ${violations(kernel) - before} EPT violations`, view: "tables", address, cpu: 0 };
        },
      },
      {
        title: "Both dimensions",
        text: "Four levels of the guest, each below four of the second stage, and four more for the page itself: without caches a walk reads 24 entries in place of 4. Each of the guest's entries is listed with the second stage's walk to it.",
        act: () => {
          const probe = kernel.machine.cpus[0].probe(address);
          const ofTables = probe.levels.reduce(
            (sum, { secondStage }) => sum + 1 + (secondStage?.levels.length ?? 0),
            0,
          );
          const reads = ofTables + (probe.secondStage?.levels.length ?? 0);
          return { found: `${reads} entries`, lines: formatProbe(probe).split("\n"), view: "tables", address, cpu: 0 };
        },
      },
      {
        title: "What caches spare",
        text: "With all TLBs flushed a load walks everything. The page beside it is walked from a paging-structure cache, whose entries lead from a linear address to the machine's frame of the guest's last table: both dimensions of the levels above are spared.",
        act: () => {
          const [cpu] = kernel.machine.cpus;
          // So that the second page's own violation is not in its walk.
          tryStore(kernel, 0, address + PAGE, 43);
          cpu.flushTlbAll();
          const first = walkCycles(kernel, 0, () => tryLoad(kernel, 0, address));
          const beside = walkCycles(kernel, 0, () => tryLoad(kernel, 0, address + PAGE));
          const found = `${first} cycles of page walks, ${beside} for the page beside it`;
          return { found, view: "tlbs", address, cpu: 0 };
        },
      },
      {
        title: "vfree and a flush",
        text: "The guest changes its own tables and flushes its own translations: TLBs hold pages of both stages together, tagged with the virtual CPU's VPID. INVLPG in the guest needs no exit. The hypervisor's pages stay with the guest, also when its kernel has freed them.",
        act: () => {
          const before = violations(kernel);
          kernel.vfree(address);
          kernel.vmUnmapAliases();
          const found = `${tryLoad(kernel, 0, address)}; ${violations(kernel) - before} EPT violations`;
          return { found, view: "tlbs", address, cpu: 0 };
        },
      },
    ];
  },
};

/** How often the guest has touched what the hypervisor had not mapped. */
function violations({ host }: Kernel): number {
  return host?.counts[0].faults ?? 0;
}
