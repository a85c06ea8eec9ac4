/** The caches of objects that vmalloc and address spaces have (`kmem_cache_create`, `kmalloc_caches`). */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { KmemCache } from "./kmem-cache.ts";
import { SlabPages } from "./slab-pages.ts";

/** `sizeof` of structures on x86-64 in Linux 6.12. */
const VMAP_AREA_BYTES = 72;
const VM_STRUCT_BYTES = 64;
const VMAP_BLOCK_BYTES = 240;
/** `mm_struct` with its mask of CPUs, aligned to a line as its cache is. */
const MM_STRUCT_BYTES = 1408;
/** Bytes of a pointer to a page. */
const POINTER_BYTES = 8;
/** Pointers in a page. */
const PAGE_ARRAY_MAX = PAGE_SIZE / POINTER_BYTES;

/** Sizes that kmalloc has caches of, up to two pages (`KMALLOC_MAX_CACHE_SIZE`). */
const KMALLOC_BYTES = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];

/** All caches of a kernel. */
export class KmemCaches {
  /** `vmap_area_cachep`. */
  readonly vmapArea: KmemCache;
  /** `mm_cachep`. */
  readonly mm: KmemCache;
  /** Those of kmalloc that a vm_struct and a vmap block come from. */
  readonly vmStruct: KmemCache;
  readonly vmapBlock: KmemCache;
  /** All, in order of being made. */
  readonly all: readonly KmemCache[];
  readonly slabPages: SlabPages;
  private readonly kmalloc: readonly KmemCache[];
  /** By number of pages: where an array of pointers to them comes from. */
  private readonly pageArrays: readonly KmemCache[];

  constructor(pages: PageAllocator, loop: EventLoop, costs: KernelCosts) {
    this.slabPages = new SlabPages(pages, loop, costs);
    const { slabPages } = this;
    const nodeOfCpu = (cpu: number): number => pages.nodeOfCpu(cpu);
    const parts = { loop, costs, slabPages, numaNodes: pages.numaNodes, nodeOfCpu };
    this.kmalloc = KMALLOC_BYTES.map((bytes) => new KmemCache(`kmalloc-${sizeName(bytes)}`, bytes, parts));
    this.vmapArea = new KmemCache("vmap_area", VMAP_AREA_BYTES, parts);
    this.mm = new KmemCache("mm_struct", MM_STRUCT_BYTES, parts);
    this.pageArrays = Array.from(
      { length: PAGE_ARRAY_MAX + 1 },
      (_, count) => this.kmallocSlab(count * POINTER_BYTES) as KmemCache,
    );
    this.vmStruct = this.kmallocSlab(VM_STRUCT_BYTES) as KmemCache;
    this.vmapBlock = this.kmallocSlab(VMAP_BLOCK_BYTES) as KmemCache;
    this.all = [...this.kmalloc, this.vmapArea, this.mm];
  }

  /** The cache that kmalloc takes so many bytes from (`kmalloc_slab`); null for more than two pages. */
  kmallocSlab(bytes: number): KmemCache | null {
    for (const cache of this.kmalloc) if (bytes <= cache.objectBytes) return cache;
    return null;
  }

  /** The cache that an array of pointers to 1 to 512 pages comes from; a larger one is vmalloc'ed itself: null. */
  pageArrayCache(pages: number): KmemCache | null {
    return pages < this.pageArrays.length ? this.pageArrays[pages] : null;
  }
}

function sizeName(bytes: number): string {
  return bytes < 1024 ? String(bytes) : `${bytes / 1024}k`;
}
