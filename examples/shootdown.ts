/**
 * A TLB shootdown and who pays for it: CPU 0 flushes a page that all CPUs have used, by interrupts, and the accounts say what
 * that cost the CPU that flushed, those that were interrupted, and everybody who has to walk the page tables again.
 *
 *     $ npx jiti examples/shootdown.ts
 *     flush of 1 page by CPU 0, cause "call"
 *       its own work:     1015 cycles
 *       its wait:         4519 cycles
 *       stolen by IPIs:   10485 cycles, of CPUs 0 to 3: 0, 3495, 3495, 3495
 *       refills:          148 cycles, 4 page walks
 */
import { bootKernel } from "mmulab";
import { flushTlbKernelRange } from "mmulab/mm";

const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 30 });
const accounts = kernel.vm.flushing.keepAccounts({ perCpu: true });
const { cpus } = kernel.machine;

const address = kernel.vmalloc(4 * 4096);
for (const cpu of cpus) cpu.load(address, 4);

kernel.run(flushTlbKernelRange(kernel.vm.flushing, address, address + 4096), 0);
kernel.runUntilIdle();
for (const cpu of cpus) cpu.load(address, 4);

const [record] = accounts.records;
console.log(`flush of ${record.pages} page by CPU ${record.cpu}, cause "${record.cause}"`);
console.log(`  its own work:     ${record.workCycles} cycles`);
console.log(`  its wait:         ${record.waitCycles} cycles`);
console.log(`  stolen by IPIs:   ${record.stolenCycles} cycles, of CPUs 0 to 3: ${record.stolenFrom?.join(", ")}`);
const { refills, refillCycles } = accounts.costOf(record);
console.log(`  refills:          ${refillCycles} cycles, ${refills} page walks`);
