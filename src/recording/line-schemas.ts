/** Shapes of a recording's lines other than events, checked in full; addresses become 48-bit linear addresses. */
import { z } from "zod";
import { LINEAR_SPACE_BYTES, parseLinearAddress } from "../../arch/isa/linear-address.ts";

const wholeNumber = z.number().refine((value) => Number.isInteger(value) && value >= 0, "expected a whole number");

const linearAddress = z.string().transform((text, context) => {
  try {
    return parseLinearAddress(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});

const physicalAddress = z
  .string()
  .regex(/^0x[0-9a-f]{1,13}$/, "expected a physical address of at most 52 bits, in hexadecimal")
  .transform(Number);

const flagWord = z
  .string()
  .regex(/^0x[0-9a-f]{1,8}$/, "expected up to 32 bits in hexadecimal")
  .transform(Number);

/** Bytes of the non-canonical hole, which 48-bit addresses leave out. */
const HOLE_BYTES = 2n ** 64n - BigInt(LINEAR_SPACE_BYTES);

/**
 * A `subtree_max`: the size of a gap. A gap that spans the hole is longer than the whole 48-bit space, and no other gap
 * can be; it loses the hole's size, and stays the largest of its subtree because it alone holds more than all of
 * vmalloc space.
 */
const gapSize = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/, "expected a 64-bit size in hexadecimal")
  .transform((text) => {
    const size = BigInt(text);
    return Number(size >= BigInt(LINEAR_SPACE_BYTES) ? size - HOLE_BYTES : size);
  });

/** The first line: the constants of the kernel that was recorded. Those that nothing here reads are left out. */
export const headerSchema = z.object({
  header: z.literal(1),
  name: z.string(),
  /** What `uname -a` says of the kernel that was recorded, or its release alone. */
  kernel: z.string().optional(),
  scenario: z.string(),
  seed: z.number(),
  /** CPUs of the machine. */
  smp: wholeNumber,
  /** The CPU on which the recorded thread starts. */
  pinned_cpu: wholeNumber,
  nr_vmap_nodes: wholeNumber,
  vmap_zone_size: wholeNumber,
  vmalloc_start: linearAddress,
  vmalloc_end: linearAddress,
  page_size: z.literal(4096),
  /** Lazily freed pages at the start. */
  lazy_nr: wholeNumber,
  vmap_bbmap_bits: wholeNumber,
  vmap_block_size: wholeNumber,
  vmap_max_alloc: wholeNumber,
  vmap_purge_threshold: wholeNumber,
  lazy_max_pages: wholeNumber,
  num_online_cpus: wholeNumber,
  num_possible_cpus: wholeNumber,
  nr_cpu_ids: wholeNumber,
  NR_CPUS: wholeNumber,
  tlb_single_page_flush_ceiling: wholeNumber,
  ioremap_max_page_shift: wholeNumber,
  vmap_allow_huge: z.literal([0, 1]),
  /** Constants of the layout, which recordings need not have. */
  modules_vaddr: linearAddress.optional(),
  modules_end: linearAddress.optional(),
  max_va_size_pages: wholeNumber.optional(),
});

/** The constants of the kernel that was recorded. */
export type RecordingHeader = z.infer<typeof headerSchema>;

const freed = { n: wholeNumber, addr: linearAddress };
const sized = { n: wholeNumber, size: wholeNumber };
const paged = { n: wholeNumber, count: wholeNumber, page_off: wholeNumber };
const returns = { ret: linearAddress };

/** One schema for each call, by its name. */
export const callSchemas = {
  vmalloc: z.strictObject({ call: z.literal("vmalloc"), ...sized, ...returns }),
  vzalloc: z.strictObject({ call: z.literal("vzalloc"), ...sized, ...returns }),
  vmalloc_huge: z.strictObject({ call: z.literal("vmalloc_huge"), ...sized, ...returns }),
  vmalloc_align: z.strictObject({ call: z.literal("vmalloc_align"), ...sized, align: wholeNumber, ...returns }),
  vfree: z.strictObject({ call: z.literal("vfree"), ...freed }),
  vmalloc_range: z.strictObject({
    call: z.literal("vmalloc_range"),
    ...sized,
    /** 1: GFP_NOWAIT. */
    nowait: z.literal([0, 1]),
    start: linearAddress,
    end: linearAddress,
    ...returns,
  }),
  vrealloc: z.strictObject({ call: z.literal("vrealloc"), ...freed, size: wholeNumber, ...returns }),
  vmap: z.strictObject({ call: z.literal("vmap"), ...paged, ...returns }),
  vunmap: z.strictObject({ call: z.literal("vunmap"), ...freed }),
  vm_map_ram: z.strictObject({ call: z.literal("vm_map_ram"), ...paged, ...returns }),
  vm_unmap_ram: z.strictObject({ call: z.literal("vm_unmap_ram"), ...freed, count: wholeNumber }),
  vm_unmap_aliases: z.strictObject({ call: z.literal("vm_unmap_aliases"), n: wholeNumber }),
  get_vm_area: z.strictObject({ call: z.literal("get_vm_area"), ...sized, vm_flags: wholeNumber, ...returns }),
  get_vm_area_range: z.strictObject({
    call: z.literal("get_vm_area_range"),
    ...sized,
    vm_flags: wholeNumber,
    start: linearAddress,
    end: linearAddress,
    ...returns,
  }),
  free_vm_area: z.strictObject({ call: z.literal("free_vm_area"), ...freed }),
  ioremap: z.strictObject({
    call: z.literal("ioremap"),
    n: wholeNumber,
    phys: physicalAddress,
    size: wholeNumber,
    ...returns,
  }),
  iounmap: z.strictObject({ call: z.literal("iounmap"), ...freed }),
} as const;

/** A call with its arguments, under the recording's names; `ret` is the returned address, 0 for NULL. */
export type RecordedCall = z.infer<(typeof callSchemas)[keyof typeof callSchemas]>;

const area = { start: linearAddress, end: linearAddress, va_flags: wholeNumber, node: wholeNumber };

const freeArea = z
  .strictObject({
    start: linearAddress,
    end: linearAddress,
    subtree_max: gapSize,
    depth: wholeNumber,
    black: z.literal([0, 1]),
    kids: z.literal([0, 1, 2, 3]),
  })
  .transform((line) => ({
    start: line.start,
    end: line.end,
    subtreeMaxSize: line.subtree_max,
    depth: line.depth,
    black: line.black === 1,
    hasLeft: (line.kids & 1) !== 0,
    hasRight: (line.kids & 2) !== 0,
  }));

/** An area without a vm_struct has zeros where one would be described; a vm_struct never has a requested size of 0. */
const busyArea = z
  .strictObject({ ...area, vm_flags: flagWord, requested_size: wholeNumber, page_order: wholeNumber })
  .transform(({ start, end, va_flags, node, vm_flags, requested_size, page_order }) => {
    const vm = { flags: vm_flags, requestedSizeBytes: requested_size, pageOrder: page_order };
    return { start, end, vaFlags: va_flags, node, vm: requested_size === 0 ? null : vm };
  });

const lazyArea = z
  .strictObject(area)
  .transform(({ start, end, va_flags, node }) => ({ start, end, vaFlags: va_flags, node }));

const pooledArea = z
  .strictObject({ ...area, index: wholeNumber, len: wholeNumber })
  .transform(({ start, end, va_flags, node, index, len }) => ({
    start,
    end,
    vaFlags: va_flags,
    node,
    index,
    length: len,
  }));

const block = { start: linearAddress, cpu: wholeNumber, free: wholeNumber, dirty: wholeNumber };

/** One schema for each kind of state line (`init` and `final`), into the records of a `VmallocSnapshot`. */
export const stateSchemas = {
  free: freeArea,
  busy: busyArea,
  lazy: lazyArea,
  pool: pooledArea,
  vbfree: z
    .strictObject({ ...block, dirty_min: wholeNumber.optional(), dirty_max: wholeNumber.optional() })
    .transform(({ dirty_min, dirty_max, ...listed }) => ({
      ...listed,
      ...(dirty_min === undefined ? {} : { dirtyMin: dirty_min }),
      ...(dirty_max === undefined ? {} : { dirtyMax: dirty_max }),
    })),
  vb: z
    .strictObject({ ...block, hash: wholeNumber, dirty_min: wholeNumber, dirty_max: wholeNumber })
    .transform(({ start, cpu, hash, free, dirty, dirty_min, dirty_max }) => ({
      start,
      cpu,
      hash,
      free,
      dirty,
      dirtyMin: dirty_min,
      dirtyMax: dirty_max,
    })),
} as const;

/** `final` `meta`: counters at the end. */
export const metaSchema = z.strictObject({ lazy_nr: wholeNumber });

/** `migrate`: the CPU to which the recorded thread moved. */
export const migrateSchema = z.strictObject({ migrate: wholeNumber });

/** `end_of_calls`: the calls are over. */
export const endSchema = z.strictObject({ end_of_calls: z.literal(1) });

/** `wait_done`: the scheduled work has run; how long it took and whether the wait was given up. */
export const waitDoneSchema = z.strictObject({
  wait_done: z.literal("drain"),
  jiffies: wholeNumber.optional(),
  timed_out: z.literal(0).optional(),
});

/** Text of a file in `/proc` or debugfs, by lines. */
export const textSchema = z.array(z.string());

/** The first thing wrong with `line`, naming the field: `"size" is missing`. */
export function schemaProblem(line: Record<string, unknown>, error: z.ZodError): string {
  const issue = error.issues[0];
  const key = issue.path.length > 0 ? String(issue.path[0]) : "";
  if (key === "") return issue.message;
  if (!(key in line)) return `"${key}" is missing`;
  return `"${key}" is ${JSON.stringify(line[key])}: ${issue.message}`;
}
