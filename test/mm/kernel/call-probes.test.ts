/** Probes at the entry and the return of calls, as kprobes have them. */
import { describe, expect, it } from "vitest";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

interface Probed {
  readonly kernel: Kernel;
  readonly seen: string[];
}

/** A kernel whose calls are noted: their name with their arguments where they begin, with their result where they end. */
function probedKernel(): Probed {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
  const seen: string[] = [];
  kernel.vm.probes = {
    enter: (call, args) => seen.push(`${call}(${args.join(", ")})`),
    exit: (call, result) => seen.push(`${call} = ${result}`),
  };
  return { kernel, seen };
}

describe("a probe at a call's return", () => {
  it("sees the address that an allocation returns, and 0 where the call returns nothing", () => {
    const { kernel, seen } = probedKernel();
    const frames = kernel.allocFrames(2);
    const mapped = kernel.vmMapRam(frames);
    kernel.vmUnmapRam(mapped, 2);
    const address = kernel.vmalloc(4096);
    kernel.vfree(address);
    expect(seen.filter((each) => each.includes("="))).toEqual([
      `vm_map_ram = ${mapped}`,
      "vm_unmap_ram = 0",
      `vmalloc = ${address}`,
      "vfree = 0",
    ]);
    expect(seen.filter((each) => each.startsWith("vfree("))).toEqual([`vfree(${address})`]);
  });

  it("sees 0 where an allocation fails", () => {
    const { kernel, seen } = probedKernel();
    expect(kernel.vmalloc(0)).toBe(0);
    expect(seen.at(-1)).toBe("vmalloc = 0");
  });
});
