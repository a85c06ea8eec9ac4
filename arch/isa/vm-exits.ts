/**
 * What a guest's access to memory ends with when it needs its hypervisor: a VM exit. It is thrown, as faults are, when the CPU has
 * left the guest already: whoever catches it is the hypervisor. The access had no effect but flags in entries of page tables; when the
 * hypervisor has mended the cause and entered the guest again, the guest makes it again.
 */
import { formatQualification } from "./ept.ts";
import { formatErrorCode } from "./faults.ts";
import { formatLinearAddress } from "./linear-address.ts";

/** Basic exit reason of an EPT violation (Intel SDM vol. 3D, appendix C). */
export const EXIT_EPT_VIOLATION = 48;
/** Basic exit reason of an EPT misconfiguration. */
export const EXIT_EPT_MISCONFIGURATION = 49;
/** Exit code of a nested page fault: VMEXIT_NPF (AMD APM vol. 2, appendix C). */
export const EXIT_NESTED_PAGE_FAULT = 0x400;

/** EXITINFO1 of a nested page fault, bit 32: while translating the guest's final physical address (AMD APM vol. 2, 15.25.6). */
export const NPF_FINAL = 2 ** 32;
/** Bit 33: while translating an address of the guest's page tables. */
export const NPF_GUEST_TABLES = 2 ** 33;

/** A VM exit that an access to memory causes. Like `PageFault` it has no stack trace. */
export abstract class VmExit extends Error {
  /** Basic exit reason (VMX) or exit code (SVM): `EXIT_*`. */
  abstract readonly reason: number;
  /** The guest-physical address that was accessed: of an entry of a guest's page table, or of the data. */
  readonly guestPhysicalAddress: number;
  /** The guest's linear address, with EPT violations; null where the hypervisor is not told. */
  readonly linearAddress: number | bigint | null;
  /** The CPU's number. */
  readonly cpu: number;

  constructor(guestPhysicalAddress: number, linearAddress: number | bigint | null, cpu: number) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super();
    Error.stackTraceLimit = stackTraceLimit;
    this.guestPhysicalAddress = guestPhysicalAddress;
    this.linearAddress = linearAddress;
    this.cpu = cpu;
  }

  /** What happened, without where. */
  protected abstract describe(): string;

  /** Its text, made when it is read. */
  override get message(): string {
    const linear = this.linearAddress === null ? "" : `, linear ${formatLinearAddress(this.linearAddress)}`;
    return `${this.describe()} at guest-physical 0x${this.guestPhysicalAddress.toString(16)}${linear} on CPU ${this.cpu}`;
  }
}

/** An EPT violation (Intel SDM vol. 3C, 29.3.3.2): EPT does not map, or refuses, what the guest accessed. */
export class EptViolation extends VmExit {
  override readonly name = "EptViolation";
  readonly reason = EXIT_EPT_VIOLATION;
  /** The exit qualification: `EPT_VIOLATION_*` (ept.ts). */
  readonly qualification: number;

  constructor(qualification: number, guestPhysicalAddress: number, linearAddress: number | bigint, cpu: number) {
    super(guestPhysicalAddress, linearAddress, cpu);
    this.qualification = qualification;
  }

  protected describe(): string {
    return `EPT violation (${formatQualification(this.qualification)})`;
  }
}

/** An EPT misconfiguration (Intel SDM vol. 3C, 29.3.3.1): an entry of EPT has contents that are not supported. */
export class EptMisconfiguration extends VmExit {
  override readonly name = "EptMisconfiguration";
  readonly reason = EXIT_EPT_MISCONFIGURATION;

  constructor(guestPhysicalAddress: number, cpu: number) {
    super(guestPhysicalAddress, null, cpu);
  }

  protected describe(): string {
    return "EPT misconfiguration";
  }
}

/** A nested page fault (AMD APM vol. 2, 15.25.6): EXITINFO2 is the guest-physical address. */
export class NestedPageFault extends VmExit {
  override readonly name = "NestedPageFault";
  readonly reason = EXIT_NESTED_PAGE_FAULT;
  /** EXITINFO1: a page-fault error code (`PF_*`), and {@link NPF_FINAL} or {@link NPF_GUEST_TABLES}. */
  readonly exitInfo1: number;

  constructor(exitInfo1: number, guestPhysicalAddress: number, cpu: number) {
    super(guestPhysicalAddress, null, cpu);
    this.exitInfo1 = exitInfo1;
  }

  protected describe(): string {
    const where = this.exitInfo1 >= NPF_GUEST_TABLES ? "page tables" : "final address";
    return `#NPF(${formatErrorCode(this.exitInfo1 % 2 ** 32)}, ${where})`;
  }
}

/** Bit 31 of an exit reason: the VM entry failed. */
const ENTRY_FAILURE = 2 ** 31;

/**
 * A VM entry, or an instruction for guests, that fails on the operands: VMfail with an error number on Intel (SDM vol. 3C, 31.4), or
 * VMEXIT_INVALID, here -1, on AMD. The CPU goes on in the host.
 */
export class VmFail extends Error {
  override readonly name = "VmFail";
  /**
   * VM-instruction error number: 7, invalid control fields; 28, invalid operand to INVEPT or INVVPID. Exit reason 0x80000021: a VM entry
   * that the guest's registers make fail. -1: VMEXIT_INVALID.
   */
  readonly errorNumber: number;
  constructor(errorNumber: number, why: string) {
    const what =
      errorNumber < 0
        ? "VMEXIT_INVALID"
        : errorNumber >= ENTRY_FAILURE
          ? `VM-entry failure, exit reason ${errorNumber - ENTRY_FAILURE}`
          : `VMfail ${errorNumber}`;
    super(`${what}: ${why}`);
    this.errorNumber = errorNumber;
  }
}
