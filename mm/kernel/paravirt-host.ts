/**
 * What a kernel that runs as a guest shares with its hypervisor, or asks it to do: KVM's `struct kvm_steal_time` (`Documentation/virt/kvm/x86/msr.rst`,
 * MSR_KVM_STEAL_TIME), Hyper-V's hypercalls that flush (Hypervisor Top Level Functional Specification, "Virtual Processors").
 */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { CallBill } from "./smp.ts";

/** A flush that is done when a vCPU next runs. */
export interface FlushAtEntry {
  /** The flush in the accounts (`FlushRecord.id`); 0 where nobody keeps them. */
  readonly flush: number;
  /** Attributes what the flush removes; by default nobody does. */
  readonly attributed: ((cpu: number, invalidate: (cpu: number) => void) => void) | null;
  /** Told what it cost the vCPU, in cycles. */
  readonly paid: ((cpu: number, cycles: number) => void) | null;
}

/** Pages that a hypercall flushes, or all that is not global. */
export interface HypercallFlush {
  /** [start, end), page-aligned. */
  readonly start: number;
  readonly end: number;
  /** HvFlushVirtualAddressSpace in place of HvFlushVirtualAddressList. */
  readonly full: boolean;
}

/** The hypervisor as its guest sees it. */
export interface ParavirtHost {
  /** The first of the lines of `struct kvm_steal_time`, one a vCPU. */
  readonly stealTimeLines: number;
  /** `KVM_VCPU_PREEMPTED` in `preempted` of a vCPU: it does not run now, and flushes are asked of the hypervisor. */
  isPreempted(cpu: number): boolean;
  /** Sets `KVM_VCPU_FLUSH_TLB` there: the hypervisor flushes all of the vCPU before it runs again. */
  flushAtEntry(cpu: number, flush: FlushAtEntry): void;
  /** Whether that, or what the host's own changes of the guest's memory ask for, has yet to be done. */
  owesFlush(cpu: number): boolean;
  /**
   * The hypercall that flushes addresses of guest vCPUs, the current one perhaps among them; vCPUs that do not run flush before
   * they run again. When it is over, none will use what it had cached.
   */
  hypercallFlush(
    cpus: readonly number[],
    flush: HypercallFlush,
    atEntry: FlushAtEntry,
    bill: CallBill | null,
  ): KernelCode<void>;
}
