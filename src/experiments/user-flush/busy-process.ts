/** A process with a thread on every CPU: one makes the calls that are measured, the others compute in user mode meanwhile. */
import type { KernelCode } from "../../../arch/index.ts";
import type { MmStruct, UserSpaces } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { computeUntil } from "../base/busy-cpu.ts";
import { UserThread } from "./user-thread.ts";

/** Runs `caller` as the thread of `mm` on CPU 0 to its end; until then the threads on all other CPUs are in user mode. */
export function runInBusyProcess(
  kernel: Kernel,
  spaces: UserSpaces,
  mm: MmStruct,
  caller: () => KernelCode<void>,
): void {
  const { loop } = kernel.machine;
  const { userMode } = kernel.mm.flushing;
  let isDone = false;
  function* acting(): KernelCode<void> {
    yield* caller();
    isDone = true;
  }
  function* busy(): KernelCode<void> {
    spaces.switchTo(mm);
    userMode.enterUser();
    yield* computeUntil(loop, () => isDone);
    userMode.enterKernel();
  }
  for (let cpu = 1; cpu < loop.cpus; cpu++) kernel.spawn(`busy/${cpu}`, cpu, busy());
  kernel.spawn("caller", 0, new UserThread(spaces, mm).run(acting));
  kernel.runUntilIdle();
}
