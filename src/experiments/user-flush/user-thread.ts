/** A user thread of an experiment: system calls and page faults with what it takes to get into the kernel and back. */
import type { KernelCode } from "../../../arch/index.ts";
import { handlePteFault, type MmStruct, type UserSpaces } from "../../../mm/index.ts";

/** A thread in user mode on the current CPU, once it has begun. */
export class UserThread {
  private readonly spaces: UserSpaces;
  private readonly mm: MmStruct;
  private readonly ownPages: readonly number[];

  /** @param ownPages pages that the thread itself uses as soon as a call returns: its text, the library's, its stack */
  constructor(spaces: UserSpaces, mm: MmStruct, ownPages: readonly number[] = []) {
    this.spaces = spaces;
    this.mm = mm;
    this.ownPages = ownPages;
  }

  /** Runs `body` in user mode of the address space. */
  *run(body: () => KernelCode<void>): KernelCode<void> {
    const { userMode } = this.spaces.kernel.flushing;
    this.spaces.switchTo(this.mm);
    userMode.enterUser();
    yield* body();
    userMode.enterKernel();
  }

  /** A system call; returns its cycles, with the way there and back. */
  call(work: KernelCode<unknown>): KernelCode<number> {
    return this.inKernel(work, false);
  }

  /** A page fault's way into the kernel, its handler, and the way back; returns their cycles. */
  private *fault(handler: KernelCode<unknown>): KernelCode<number> {
    const { loop, machine } = this.spaces.kernel;
    const began = loop.nowCycles();
    loop.spend(machine.preset.costs.pageFault.value);
    yield* this.inKernel(handler, true);
    return loop.nowCycles() - began;
  }

  private *inKernel(work: KernelCode<unknown>, byException: boolean): KernelCode<number> {
    const { flushing, loop, machine } = this.spaces.kernel;
    const began = loop.nowCycles();
    flushing.userMode.enterKernel(byException);
    yield* work;
    flushing.userMode.enterUser(byException);
    const { [loop.currentCpu]: cpu } = machine.cpus;
    for (const la of this.ownPages) cpu.touch(la);
    return loop.nowCycles() - began;
  }

  /** Writes to a page that is read-only: the fault, its handler, and the store that succeeds after it. Returns their cycles. */
  *write(
    la: number,
    handler: (spaces: UserSpaces, mm: MmStruct, la: number) => KernelCode<number>,
  ): KernelCode<number> {
    const { loop, machine } = this.spaces.kernel;
    const began = loop.nowCycles();
    yield* this.fault(handler(this.spaces, this.mm, la));
    machine.cpus[loop.currentCpu].store(la, 4, 1);
    return loop.nowCycles() - began;
  }

  /**
   * Touches a page that is not there: the fault, and the access that succeeds after it. Returns their cycles.
   * @param isWrite whether it is written, and so gets a page of its own; else it is the zero page
   */
  *faultIn(la: number, isWrite = true): KernelCode<number> {
    const { loop, machine } = this.spaces.kernel;
    const began = loop.nowCycles();
    yield* this.fault(handlePteFault(this.spaces, this.mm, la, isWrite));
    machine.cpus[loop.currentCpu].touch(la);
    return loop.nowCycles() - began;
  }
}
