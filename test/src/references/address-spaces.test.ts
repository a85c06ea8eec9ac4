/** Traced threads on the CPUs of a machine. */
import { expect, test } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { AddressSpaces } from "../../../src/references/address-spaces.ts";

const thread = (stream: number) => ({ tid: stream, pid: 1, stream });

test("vCPUs that share a physical CPU take turns there: each turn costs an exit and an entry, and TLBs are shared", () => {
  const turns = (physicalCpus: number) => {
    const kernel = bootKernel({ cpus: 2, preset: "skylake", guest: { physicalCpus } });
    const spaces = new AddressSpaces(kernel, "4K");
    for (const stream of [0, 1, 1, 0, 1]) spaces.enter(thread(stream));
    const [first, second] = kernel.machine.cpus;
    const { counts } = kernel.host ?? { counts: [] };
    return {
      resumptions: counts.map(({ resumptions }) => resumptions),
      isShared: first.mmu.tlbs === second.mmu.tlbs,
      hostCycles: counts.map(({ exitCycles }) => exitCycles > 0),
    };
  };
  expect(turns(1)).toEqual({ resumptions: [1, 2], isShared: true, hostCycles: [true, true] });
  expect(turns(2)).toEqual({ resumptions: [0, 0], isShared: false, hostCycles: [false, false] });
});
