/**
 * One stale TLB entry: after vfree the page tables no longer map the page, but the CPU that used it still does, until the
 * kernel purges and flushes. Another CPU, which never used the page, faults at once.
 *
 *     $ npx jiti examples/stale-entry.ts
 *     mapped: CPU 0 loads 42
 *     freed: the page tables say "not present"
 *     freed: CPU 0 loads 42
 *     freed: CPU 1 faults
 *     freed: verify() finds 0 faults
 *     flushed: CPU 0 faults
 */
import { bootKernel } from "mmulab";
import { PageFault } from "mmulab/arch";

const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 30 });
const { cpus } = kernel.machine;

function look(when: string, cpu: number): void {
  try {
    console.log(`${when}: CPU ${cpu} loads ${cpus[cpu].load(address, 4)}`);
  } catch (fault) {
    if (!(fault instanceof PageFault)) throw fault;
    console.log(`${when}: CPU ${cpu} faults`);
  }
}

const address = kernel.vmalloc(4096);
cpus[0].store(address, 4, 42);
look("mapped", 0);

kernel.vfree(address);
console.log(`freed: the page tables say "${cpus[0].probe(address).outcome}"`);
look("freed", 0);
look("freed", 1);
// Not an error of the kernel: the addresses are not given out again before the flush.
console.log(`freed: verify() finds ${kernel.verify().length} faults`);

kernel.vmUnmapAliases();
look("flushed", 0);
