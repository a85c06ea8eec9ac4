/**
 * A page fault, explained: page tables made by hand, an access that they allow, one that they do not, and why.
 *
 *     $ npx jiti examples/page-fault.ts
 *     load: 0
 *     store: #PF at 0x5000, error code P|W
 *     0x5000: 0x6000, 4K, read-only, user, executable, WB
 *       PML4E [  0] at 0x0000001000: 0x0000000000002027 P RW US x A
 *       PDPTE [  0] at 0x0000002000: 0x0000000000003027 P RW US x A
 *       PDE   [  0] at 0x0000003000: 0x0000000000004027 P RW US x A
 *       PTE   [  5] at 0x0000004028: 0x0000000000006025 P ro US x A leaf
 */
import {
  formatErrorCode,
  formatLinearAddress,
  formatProbe,
  Machine,
  PageFault,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "mmulab/arch";

const machine = new Machine({ cpus: 1, memoryBytes: 2 ** 24, preset: "skylake" });
const [cpu] = machine.cpus;

// Frames 1 to 4 are the PML4, a PDPT, a page directory and a page table; entry 0 of each leads to the next.
const anything = PTE_PRESENT | PTE_RW | PTE_USER;
for (const table of [1, 2, 3]) machine.memory.writeWord(table, 0, ((table + 1) << 12) | anything);
// PTE 5 maps page 0x5000 to frame 6: read-only, for user mode too. An entry is two words of 32 bits.
machine.memory.writeWord(4, 2 * 5, (6 << 12) | PTE_PRESENT | PTE_USER);
cpu.writeCr3(1 << 12);

console.log(`load: ${cpu.load(0x5000, 4)}`);
try {
  cpu.store(0x5000, 4, 1);
} catch (fault) {
  if (!(fault instanceof PageFault)) throw fault;
  console.log(`store: #PF at ${formatLinearAddress(cpu.cr2)}, error code ${formatErrorCode(fault.errorCode)}`);
}
// The store was refused by the last entry (`ro`); the load has set A on the way, so no entry shows a small `a`.
console.log(formatProbe(cpu.probe(0x5000)));
