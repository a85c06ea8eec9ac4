/**
 * Kinds of memory access, as paging tells them apart (Intel SDM vol. 3A, 4.6 "Access Rights"). Whether an access is a
 * user-mode or a supervisor-mode access follows from the CPL, except for the kinds that say so.
 */

/** A data read made explicitly by an instruction. */
export const ACCESS_LOAD = 0;
/** A data write made explicitly by an instruction. */
export const ACCESS_STORE = 1;
/** An instruction fetch. */
export const ACCESS_FETCH = 2;
/** A read of a system structure (GDT, IDT, TSS): a supervisor-mode access at any CPL, and SMAP ignores EFLAGS.AC. */
export const ACCESS_IMPLICIT_LOAD = 3;
/** A write to a system structure: a supervisor-mode access at any CPL, and SMAP ignores EFLAGS.AC. */
export const ACCESS_IMPLICIT_STORE = 4;
/** A shadow-stack read (RET, INCSSP, RSTORSSP): user-mode at CPL 3, else supervisor-mode. */
export const ACCESS_SHADOW_STACK_LOAD = 5;
/** A shadow-stack write (CALL, WRSS, SETSSBSY): user-mode at CPL 3, else supervisor-mode. */
export const ACCESS_SHADOW_STACK_STORE = 6;
/** WRUSS: a user-mode shadow-stack write made at CPL 0. */
export const ACCESS_USER_SHADOW_STACK_STORE = 7;

/** Number of access kinds. */
export const ACCESS_KINDS = 8;

/** One of the access kinds above. */
export type Access =
  | typeof ACCESS_LOAD
  | typeof ACCESS_STORE
  | typeof ACCESS_FETCH
  | typeof ACCESS_IMPLICIT_LOAD
  | typeof ACCESS_IMPLICIT_STORE
  | typeof ACCESS_SHADOW_STACK_LOAD
  | typeof ACCESS_SHADOW_STACK_STORE
  | typeof ACCESS_USER_SHADOW_STACK_STORE;

/** The TLBs that an access uses, by access kind: those for loads (0), stores (1) or instruction fetches (2). */
export const TLB_KIND = [0, 1, 2, 0, 1, 0, 1, 1] as const;

/** Whether each access kind writes. */
export const ACCESS_WRITES = [false, true, false, false, true, false, true, true] as const;

/** Whether each access kind is a shadow-stack access. */
export const ACCESS_IS_SHADOW_STACK = [false, false, false, false, false, true, true, true] as const;

/** Whether an access is a user-mode access at `cpl`. */
export function isUserAccess(access: Access, cpl: number): boolean {
  if (access === ACCESS_IMPLICIT_LOAD || access === ACCESS_IMPLICIT_STORE) return false;
  return cpl === 3 || access === ACCESS_USER_SHADOW_STACK_STORE;
}
