/**
 * A flush policy of one's own: never page by page. Each flush of kernel addresses takes whole TLBs away, and nobody counts
 * pages. Beside Linux's policy: what does a flush of one page cost in cycles, with the page walks that follow it?
 *
 *     $ npx jiti examples/flush-policy.ts
 *     ipi: work 1015, wait 4275, stolen 3495, refills 74 (2 page walks)
 *     whole TLBs: work 1795, wait 4275, stolen 4275, refills 3224 (128 page walks)
 */
import { bootKernel } from "mmulab";
import { type FlushPolicy, flushTlbKernelRange, IPI_POLICY } from "mmulab/mm";

const WHOLE_TLBS: FlushPolicy = {
  name: "whole TLBs",
  summary: "interrupts to all CPUs, which flush their whole TLBs",
  eager: false,
  check: () => {},
  flush: ({ smp }, { invalidateAll, record }) => smp.onEachCpu(invalidateAll, record),
};

/** Flushes one of 64 pages that both CPUs use, and prints what that cost over all CPUs, in cycles. */
function measure(flushPolicy: FlushPolicy): void {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 30, flushPolicy });
  const accounts = kernel.vm.flushing.keepAccounts();
  const address = kernel.vmalloc(64 * 4096);
  const touchAll = (): void => {
    for (const cpu of kernel.machine.cpus) for (let page = 0; page < 64; page++) cpu.load(address + page * 4096, 4);
  };
  touchAll();
  kernel.run(flushTlbKernelRange(kernel.vm.flushing, address, address + 4096));
  kernel.runUntilIdle();
  touchAll();
  const { workCycles, waitCycles, stolenCycles, refillCycles, refills } = accounts.total();
  const walks = `${refills} page walks`;
  console.log(
    `${flushPolicy.name}: work ${workCycles}, wait ${waitCycles}, stolen ${stolenCycles}, refills ${refillCycles} (${walks})`,
  );
}

measure(IPI_POLICY);
measure(WHOLE_TLBS);
