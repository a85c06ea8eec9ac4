/** Places of kernel code that use memory of the kernel's own: what a working set (`mm/user/working-set.ts`) touches there. */

/** A path, or the part of one that comes behind a flush. */
export type KernelPath =
  | "entry"
  | "exit"
  | "fault"
  | "mprotect"
  | "mprotect end"
  | "madvise"
  | "munmap"
  | "page walk"
  | "unmap"
  | "zap"
  | "zap end"
  | "unmap end"
  | "batch taken"
  | "batch freed"
  | "lru add"
  | "pages freed"
  | "memcg"
  | "flush"
  | "flush page";

/** Told of each path that the current CPU takes. */
export type UsePath = (path: KernelPath) => void;
