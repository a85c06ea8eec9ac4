/** PCIDs as Linux deals them out: PCID 0 is nobody's, ASID n has PCID n + 1 in the kernel and 2049 + n in user mode. */

/** Context id of the kernel's own address space, `init_mm`. */
export const INIT_CTX_ID = 1;

/** The bit that tells the PCID of user mode from the kernel's (`X86_CR3_PTI_PCID_USER_BIT`). */
const USER_PCID_BIT = 2 ** 11;

/** PCID of an ASID while the kernel runs (`kern_pcid`). */
export function kernPcid(asid: number): number {
  return asid + 1;
}

/** PCID of an ASID in user mode with page-table isolation (`user_pcid`). */
export function userPcid(asid: number): number {
  return kernPcid(asid) + USER_PCID_BIT;
}
