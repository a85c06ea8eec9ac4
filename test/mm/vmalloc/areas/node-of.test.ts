import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VMALLOC_END, VMALLOC_START } from "../../../../mm/lib/memory-layout.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";

const UPPER_HALF = 0xffffn << 48n;
const PAGE = 4096;

describe("addr_to_node and addr_to_vb_xa", () => {
  it("divide 64-bit addresses, inside the vmalloc range and outside, whatever the zones and CPUs", () => {
    const kernels = [1, 2, 3, 4, 7].flatMap((cpus) =>
      [undefined, PAGE, 3 * PAGE, 2 ** 30].map((zoneSizeBytes) =>
        bootKernel({ cpus, vmalloc: zoneSizeBytes === undefined ? {} : { zoneSizeBytes } }),
      ),
    );
    const address = fc.oneof(
      fc.integer({ min: VMALLOC_START, max: VMALLOC_END }),
      fc.integer({ min: 2 ** 47, max: 2 ** 48 - 1 }),
      fc.constantFrom(VMALLOC_START, VMALLOC_END, VMALLOC_START - 1, 2 ** 48 - 1),
    );
    fc.assert(
      fc.property(address, fc.constantFrom(...kernels), (la, { vm }) => {
        const address64 = UPPER_HALF + BigInt(la);
        const { zoneSizeBytes, vmapNodes, possibleCpus } = vm.config;
        expect(vm.addrToNode(la).id).toBe(Number((address64 / BigInt(zoneSizeBytes)) % BigInt(vmapNodes)));
        expect(vm.addrToVbXa(la)).toBe(Number((address64 / BigInt(vm.blockBytes)) % BigInt(possibleCpus)));
      }),
      { numRuns: 1000 },
    );
  });
});
