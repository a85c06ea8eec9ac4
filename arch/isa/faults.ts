/**
 * Exceptions that the memory-management unit raises (Intel SDM vol. 3A, 6.15). They are results of the machine; mistakes of the
 * person who uses it are in errors.ts.
 */
import { formatLinearAddress } from "./linear-address.ts";

/** P: 0, the page was not present; 1, a present translation was refused, or an entry had a reserved bit set. */
export const PF_PRESENT = 1 << 0;
/** W: the access was a write. */
export const PF_WRITE = 1 << 1;
/** U: the access was a user-mode access. */
export const PF_USER = 1 << 2;
/** RSVD: an entry had a reserved bit set. */
export const PF_RESERVED = 1 << 3;
/** I: the access was an instruction fetch (only with EFER.NXE = 1 or CR4.SMEP = 1). */
export const PF_FETCH = 1 << 4;
/** PK: a protection key refused the access. */
export const PF_PROTECTION_KEY = 1 << 5;
/** SS: the access was a shadow-stack access. */
export const PF_SHADOW_STACK = 1 << 6;

const PF_NAMES = ["P", "W", "U", "RSVD", "I", "PK", "SS"];
const CODE_NAMES = Array.from(
  { length: 128 },
  (_, code) => PF_NAMES.filter((_name, bit) => (code & (1 << bit)) !== 0).join("|") || "0",
);

/** The set bits of a page-fault error code by the manual's names, such as `P|W|U`; `0` for none. */
export function formatErrorCode(errorCode: number): string {
  return CODE_NAMES[errorCode & 127];
}

/**
 * #PF. CR2 of the CPU holds `linearAddress` too (Intel SDM vol. 3A, 4.7 "Page-Fault Exceptions"). It has a stack trace only while
 * {@link PageFault.capturesStack} is set: most page faults are handled and made again, and tracing the stack takes four times as
 * long as raising the fault.
 */
export class PageFault extends Error {
  /** Whether page faults trace the stack, to be set by whoever shows people where in their program an access faulted. */
  static capturesStack = false;
  override readonly name = "PageFault";
  /** Bits as in {@link PF_PRESENT} and its neighbours. */
  readonly errorCode: number;
  /** The linear address whose access faulted: in 48-bit form; with five levels of paging all 64 bits of it. */
  readonly linearAddress: number | bigint;
  /** The CPU's number. */
  readonly cpu: number;
  constructor(errorCode: number, linearAddress: number | bigint, cpu: number) {
    const { stackTraceLimit } = Error;
    if (!PageFault.capturesStack) Error.stackTraceLimit = 0;
    super();
    Error.stackTraceLimit = stackTraceLimit;
    this.errorCode = errorCode;
    this.linearAddress = linearAddress;
    this.cpu = cpu;
  }
}

// Faults are a normal event of a machine: their text is made only when somebody reads it.
Object.defineProperty(PageFault.prototype, "message", {
  configurable: true,
  get(this: PageFault): string {
    return `#PF(${formatErrorCode(this.errorCode)}) at ${formatLinearAddress(this.linearAddress)} on CPU ${this.cpu}`;
  },
});

/** #GP(0): the instruction asked for what the CPU refuses. */
export class GeneralProtectionFault extends Error {
  override readonly name = "GeneralProtectionFault";
  /** Always 0 for the causes in this machine. */
  readonly errorCode = 0;
  /** What was refused. */
  readonly reason: string;
  constructor(reason: string) {
    super(`#GP(0): ${reason}`);
    this.reason = reason;
  }
}

/** #UD: the CPU does not have the instruction, or it is not enabled. */
export class InvalidOpcode extends Error {
  override readonly name = "InvalidOpcode";
  /** The instruction's name. */
  readonly instruction: string;
  constructor(instruction: string, why: string) {
    super(`#UD: ${instruction}: ${why}`);
    this.instruction = instruction;
  }
}
