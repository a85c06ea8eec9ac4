/**
 * How vm_map_ram fills a vmap block: small requests of a CPU lie side by side in its block, rounded up to a power of two;
 * what is given back is not used again before the whole block has been purged.
 *
 *     $ npx jiti examples/vm-map-ram.ts
 *     new block for CPU 0: 1024 pages at 0xffffc90000000000
 *     CPU 0 has mapped 3 pages at 0xffffc90000000000
 *       takes 2 pages: 1018 are left
 *     CPU 0 has mapped 2 pages at 0xffffc90000004000
 *     new block for CPU 1: 1024 pages at 0xffffc90000400000
 *     CPU 1 has mapped 2 pages at 0xffffc90000400000
 *       gives 4 pages back: 1018 are left, 4 wait for a purge
 *       takes 4 pages: 1014 are left
 *     CPU 0 has mapped 3 pages at 0xffffc90000006000
 */
import { bootKernel } from "mmulab";
import { formatLinearAddress } from "mmulab/arch";
import { NO_EVENTS } from "mmulab/mm";

// A new block serves its first request at once, so that one does not show as taken.
const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 30 });
kernel.vm.events = {
  ...NO_EVENTS,
  newBlock: (start, end, cpu) =>
    console.log(`new block for CPU ${cpu}: ${(end - start) / 4096} pages at ${formatLinearAddress(start)}`),
  vbAlloc: (_address, order, _block, free) => console.log(`  takes ${1 << order} pages: ${free} are left`),
  vbFree: (_address, order, _block, free, dirty) =>
    console.log(`  gives ${1 << order} pages back: ${free} are left, ${dirty} wait for a purge`),
};

function map(pages: number): number {
  const address = kernel.vmMapRam(kernel.allocFrames(pages));
  console.log(`CPU ${kernel.currentCpu} has mapped ${pages} pages at ${formatLinearAddress(address)}`);
  return address;
}

const first = map(3);
map(2);
kernel.currentCpu = 1;
map(2);
kernel.currentCpu = 0;

kernel.vmUnmapRam(first, 3);
map(3);
