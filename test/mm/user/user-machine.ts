/** A kernel with user address spaces, for tests of their flushes and of lazy CPUs. */
import { type KernelCode, PAGE_SIZE, PageFault } from "../../../arch/index.ts";
import { type FlushPolicy, type MmStruct, mmapPopulate, mprotect, UserSpaces } from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { featuresFor } from "../flush/policy-features.ts";

export const TEXT = 0x40_0000;

export interface Machine {
  readonly kernel: Kernel;
  readonly spaces: UserSpaces;
}

export function boot(flushPolicy: FlushPolicy, config: Partial<KernelConfig> = {}, usesPcids = true): Machine {
  const features = featuresFor(flushPolicy);
  const kernel = bootKernel({ cpus: 5, memoryBytes: 2 ** 28, flushPolicy, features, ...config });
  return { kernel, spaces: new UserSpaces(kernel.mm, usesPcids) };
}

export function on<T>({ kernel }: Pick<Machine, "kernel">, cpu: number, body: () => T): T {
  // biome-ignore lint/correctness/useYield: plain code on a CPU
  function* code(): KernelCode<T> {
    return body();
  }
  return kernel.run(code(), cpu);
}

/** An address space of 8 pages that runs on CPUs 0 to `cpus` - 1 and has been flushed `flushes` times. */
export function runningOn(machine: Machine, cpus: number, flushes: number): MmStruct {
  const { kernel, spaces } = machine;
  const mm = spaces.mmAlloc();
  kernel.run(mmapPopulate(spaces, mm, TEXT, 8));
  for (let cpu = 0; cpu < cpus; cpu++) on(machine, cpu, () => spaces.switchTo(mm));
  for (let i = 0; i < flushes; i++) {
    kernel.run(mprotect(spaces, mm, TEXT, TEXT + PAGE_SIZE, i % 2 === 1), 0);
  }
  return mm;
}

export function touchAll({ kernel }: Machine, cpus: number): void {
  for (let cpu = 0; cpu < cpus; cpu++)
    for (let page = 0; page < 8; page++) kernel.machine.cpus[cpu].touch(TEXT + page * PAGE_SIZE);
}

export function faults({ kernel }: Machine, cpu: number, page: number): boolean {
  try {
    kernel.machine.cpus[cpu].touch(TEXT + page * PAGE_SIZE);
    return false;
  } catch (error) {
    if (error instanceof PageFault) return true;
    throw error;
  }
}
