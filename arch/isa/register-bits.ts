/** Bits of control registers, and numbers of model-specific registers (Intel SDM vol. 3A, 2.2.1 and 2.5; AMD APM vol. 2, 3.1). */

/** Protected mode; always 1 here. */
export const CR0_PE = 2 ** 0;
/** Monitor coprocessor; of no effect here. */
export const CR0_MP = 2 ** 1;
/** Extension type; always 1. */
export const CR0_ET = 2 ** 4;
/** Numeric error; of no effect here. */
export const CR0_NE = 2 ** 5;
/** Write protect: the supervisor's stores too need R/W = 1. */
export const CR0_WP = 2 ** 16;
/** Alignment mask; of no effect here. */
export const CR0_AM = 2 ** 18;
/** Not write-through; needs CD. */
export const CR0_NW = 2 ** 29;
/** Cache disable; of no effect here. */
export const CR0_CD = 2 ** 30;
/** Paging; always 1 here. */
export const CR0_PG = 2 ** 31;
/** Physical-address extension; always 1 in 64-bit mode. */
export const CR4_PAE = 2 ** 5;
/** Global pages. */
export const CR4_PGE = 2 ** 7;
/** 57-bit linear addresses: five levels of page tables. */
export const CR4_LA57 = 2 ** 12;
/** Process-context identifiers: CR3 holds one in bits 11:0. */
export const CR4_PCIDE = 2 ** 17;
/** The supervisor fetches no instructions from pages of the user. */
export const CR4_SMEP = 2 ** 20;
/** The supervisor reads and writes pages of the user only with EFLAGS.AC = 1. */
export const CR4_SMAP = 2 ** 21;
/** Protection keys of pages of the user: PKRU. */
export const CR4_PKE = 2 ** 22;
/** Shadow stacks. */
export const CR4_CET = 2 ** 23;
/** Protection keys of pages of the supervisor: IA32_PKRS. */
export const CR4_PKS = 2 ** 24;
/** Linear-address space separation: no user access to the upper half of addresses, no supervisor access to the lower. */
export const CR4_LASS = 2 ** 27;
/** Linear-address masking of supervisor pointers. */
export const CR4_LAM_SUP = 2 ** 28;
/** CR3: linear-address masking of user pointers, bits 62:57; wins over `CR3_LAM_U48`. */
export const CR3_LAM_U57 = 1n << 61n;
/** CR3: linear-address masking of user pointers, bits 62:48. */
export const CR3_LAM_U48 = 1n << 62n;
/** SYSCALL and SYSRET; of no effect here. */
export const EFER_SCE = 2 ** 0;
/** Long mode enable; always 1 here. */
export const EFER_LME = 2 ** 8;
/** Long mode active; always 1 here. */
export const EFER_LMA = 2 ** 10;
/** Execute disable: XD in entries counts, else it is reserved. */
export const EFER_NXE = 2 ** 11;
/** AMD's translation-cache extension: an invalidation of one page leaves the cached entries of other pages' tables. */
export const EFER_TCE = 2 ** 15;
/** AMD's upper-address ignore: bits 63:57 of the addresses of data accesses do not count. */
export const EFER_UAIE = 2 ** 20;
/** IA32_EFER. */
export const MSR_EFER = 0xc000_0080;
/** IA32_PKRS: rights of the protection keys of supervisor pages. */
export const MSR_PKRS = 0x6e1;
/** IA32_PAT. */
export const MSR_PAT = 0x277;
