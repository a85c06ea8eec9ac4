/** What frames are used for, as zones mark them. */

/** What a frame is used for. */
export const FRAME_FREE = 0;
/** Kept for firmware, or memory that does not exist. */
export const FRAME_RESERVED = 1;
export const FRAME_PAGE_TABLE = 2;
/**
 * Belongs to a vmalloc area. Frames on the per-CPU lists carry this mark too, as most of them come from such areas and go to
 * such areas: moving them is then a copy of their numbers (`useOf` tells the two apart).
 */
export const FRAME_VMALLOC = 3;
/** Belongs to a caller: `vmap` and `vm_map_ram` pages, workloads. */
export const FRAME_CALLER = 4;
/** Belongs to a user address space. */
export const FRAME_USER = 5;
