import { expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

it("a large vmalloc frees its array of page pointers with itself, however full the tables of vm_structs are", () => {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
  for (let live = 1; live <= 306; live++) {
    kernel.vmalloc(PAGE_SIZE);
    kernel.vfree(kernel.vmalloc(513 * PAGE_SIZE));
    expect(kernel.vm.vms.liveCount).toBe(live);
  }
});
