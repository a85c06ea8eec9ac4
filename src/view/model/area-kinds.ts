/** Kinds of areas, as the page names and colours them. */
export const AREA_KINDS = [
  "vmalloc",
  "vmap",
  "ioremap",
  "vm_map_ram",
  "block",
  "lazily freed",
  "pooled",
  "other",
] as const;
export type AreaKind = (typeof AREA_KINDS)[number];
