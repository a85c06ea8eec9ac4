/** Accesses of tests: others may act before each, and a translation that the page tables do not have is found when it is used. */
import {
  type Cpu,
  cachedTranslations,
  type KernelCode,
  PAGE_SIZE,
  PAUSE_TURN,
  PageFault,
} from "../../../arch/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { OracleFailure } from "./failure.ts";

/** Lets others act. */
export function* turn(kernel: Kernel, what: string): KernelCode<void> {
  const { loop } = kernel.machine;
  while (loop.mustYield(what)) yield PAUSE_TURN;
}

/**
 * Reads 32 bits on the current CPU.
 * @throws PageFault as the CPU does; OracleFailure when the CPU used a translation that the page tables do not have
 */
export function* load32(kernel: Kernel, address: number): KernelCode<number> {
  yield* turn(kernel, "load");
  const value = currentCpu(kernel).load(address, 4);
  checkTranslation(kernel, address);
  return value;
}

/** Writes 32 bits on the current CPU. @throws as {@link load32} */
export function* store32(kernel: Kernel, address: number, value: number): KernelCode<void> {
  yield* turn(kernel, "store");
  currentCpu(kernel).store(address, 4, value);
  checkTranslation(kernel, address);
}

/** What the CPU has cached of the page under the PCID that is loaded, or for all of them, must be what the page tables say. */
function checkTranslation(kernel: Kernel, address: number): void {
  const cpu = currentCpu(kernel);
  const page = address - (address % PAGE_SIZE);
  const { physical } = cpu.probe(page);
  for (const { tlb, pcid, la, sizeBytes, frame } of cachedTranslations(cpu)) {
    if (page < la || page >= la + sizeBytes || (pcid !== null && pcid !== cpu.mmu.pcid)) continue;
    const used = frame * PAGE_SIZE + (page - la);
    if (used === physical) continue;
    const right = physical === null ? "nothing is mapped there" : `the page tables map 0x${physical.toString(16)}`;
    throw new OracleFailure(
      "stale translation",
      `CPU ${cpu.id} accessed 0x${address.toString(16)} by its ${tlb}, which leads to 0x${used.toString(16)}; ${right}`,
    );
  }
}

/**
 * Reads 32 bits on the current CPU, of memory that may be gone.
 * @returns null where the CPU faults
 */
export function* tryLoad32(kernel: Kernel, address: number): KernelCode<number | null> {
  yield* turn(kernel, "load");
  return orFault(() => currentCpu(kernel).load(address, 4));
}

/** Writes 32 bits on the current CPU, to memory that may be gone; false where the CPU faults. */
export function* tryStore32(kernel: Kernel, address: number, value: number): KernelCode<boolean> {
  yield* turn(kernel, "store");
  return orFault(() => currentCpu(kernel).store(address, 4, value)) !== null;
}

function orFault<T>(access: () => T): T | null {
  try {
    return access();
  } catch (error) {
    if (error instanceof PageFault) return null;
    throw error;
  }
}

function currentCpu({ machine }: Kernel): Cpu {
  return machine.cpus[machine.loop.currentCpu];
}

/** @throws OracleFailure unless `holds`; `what` says what must be so */
export function expect(holds: boolean, what: string): void {
  if (!holds) throw new OracleFailure("check", `this must be so, and is not: ${what}`);
}
