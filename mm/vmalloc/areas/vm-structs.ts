/** `struct vm_struct`: what a busy area is used for, by number; 0 is "none". */
import { PMD_SIZE } from "../../../arch/isa/linear-address.ts";
import { HOST_LINE_BEGIN_BYTE } from "../../../arch/time/host-lines.ts";
import { nextCapacity } from "../../lib/grow.ts";
import type { KmemCache } from "../../slab/kmem-cache.ts";

/** Memory of a device, by `ioremap`. Flags of a vm_struct are those of `include/linux/vmalloc.h`. */
export const VM_IOREMAP = 0x1;
/** Pages that the area has allocated, by `vmalloc` and its kin. */
export const VM_ALLOC = 0x2;
/** Pages of the caller, by `vmap`. */
export const VM_MAP = 0x4;
/** May be mapped into user memory: zeroed, and aligned to SHMLBA (`vmalloc_user`). */
export const VM_USERMAP = 0x8;
/** Memory of `dma_alloc_coherent`. */
export const VM_DMA_COHERENT = 0x10;
/** Its pages are not in place yet: `/proc/vmallocinfo` and `vread` pass it over. */
export const VM_UNINITIALIZED = 0x20;
/** Has no guard page behind it. */
export const VM_NO_GUARD = 0x40;
/** Permissions were changed: `vfree` resets those of the direct mapping, and flushes at once. */
export const VM_FLUSH_RESET_PERMS = 0x100;
/** `vfree` puts the pages of a `vmap` too, and their array. */
export const VM_MAP_PUT_PAGES = 0x200;
/** May be mapped by large pages. */
export const VM_ALLOW_HUGE_VMAP = 0x400;
/** Pages are mapped into it and taken out piece by piece (`vm_area_map_pages`). */
export const VM_SPARSE = 0x1000;

const FIRST_CAPACITY = 256;
/** Smaller areas have their array of page pointers nowhere in vmalloc space. */
const LARGE_BYTES = PMD_SIZE;
const CALLER_BITS = 24;
const CALLER_MASK = (1 << CALLER_BITS) - 1;
const ORDER_MASK = 15;
const ONE_ZONE = 1 << 30;

/** Doubles of a record. The number of a vm_struct is a multiple of these. */
const STEP = 8;
const RECORD_BYTES = 8 * STEP;
/** Where the first of the words below is in a record. */
const FIRST_WORD = 8;

/**
 * Storage for vm_structs. One is a record of eight doubles, a cache line of the host, each field seen through a view of its own, as with `VmapAreas`: field
 * of doubles `f` is `f[vm]`, field of words `f[2 * vm]`.
 */
export class VmStructs {
  private buffer = new ArrayBuffer(HOST_LINE_BEGIN_BYTE + RECORD_BYTES * FIRST_CAPACITY);
  /** First address of the area. */
  addr = new Float64Array(this.buffer, HOST_LINE_BEGIN_BYTE);
  /** Size of the area in bytes, guard page included. */
  sizeBytes = this.addr.subarray(1);
  /** Size that the caller asked for, in bytes. */
  requestedSizeBytes = this.addr.subarray(2);
  /** Physical address that an `ioremap` area maps, else 0. */
  physAddr = this.addr.subarray(3);
  /** `VM_*`, at `2 * vm` as all that follow. */
  flags = new Int32Array(this.buffer, HOST_LINE_BEGIN_BYTE).subarray(FIRST_WORD);
  /** Pages allocated for the area. */
  nrPages = this.flags.subarray(1);
  /** Offset of its array of frames in `PageArrays`, or 0. */
  pages = unsigned(this.flags.subarray(2));
  /** Index into `callers`; from bit 24 up `pageOrder`; bit 30 whether all its frames are of one zone. */
  private callerAndOrder = this.flags.subarray(3);
  /** Its object of `cache`, and in the word behind that the object of its array of page pointers; 0 for none. */
  private objects = this.flags.subarray(4);
  /** What a vm_struct's object goes back to; null where objects are not kept. */
  cache: KmemCache | null = null;
  /** Addresses of the arrays of page pointers that are in vmalloc space themselves: those of large areas. */
  private readonly pagesAddr = new Map<number, number>();
  /** vm_structs in use. */
  liveCount = 0;

  private capacity = FIRST_CAPACITY;
  private used = STEP;
  private freeHead = 0;
  private lastCaller = "";
  private lastCallerIndex = 0;
  private readonly callers: string[] = [""];
  private readonly callerIndex = new Map<string, number>([["", 0]]);

  /** A new vm_struct, all zero but for its flags, size asked for and caller (`symbol+0xoffset/0xsize`). */
  make(flags: number, requestedSizeBytes: number, caller: string): number {
    let vm = this.freeHead;
    if (vm !== 0) {
      this.freeHead = this.nrPages[2 * vm];
    } else {
      if (this.used === this.capacity * STEP) this.grow();
      vm = this.used;
      this.used += STEP;
    }
    this.addr[vm] = 0;
    this.sizeBytes[vm] = 0;
    this.requestedSizeBytes[vm] = requestedSizeBytes;
    this.physAddr[vm] = 0;
    this.flags[2 * vm] = flags;
    this.nrPages[2 * vm] = 0;
    this.pages[2 * vm] = 0;
    this.objects[2 * vm] = 0;
    this.objects[2 * vm + 1] = 0;
    this.callerAndOrder[2 * vm] = caller === this.lastCaller ? this.lastCallerIndex : this.internCaller(caller);
    this.liveCount++;
    return vm;
  }

  /** The vm_struct's object of the cache; 0 for none. */
  objectOf(vm: number): number {
    return this.objects[2 * vm];
  }

  /** Sets the object of the cache that it is kept in. */
  setObject(vm: number, object: number): void {
    this.objects[2 * vm] = object;
  }

  /** The object of its array of page pointers, of the cache for arrays of this length; 0 for none. */
  arrayObjectOf(vm: number): number {
    return this.objects[2 * vm + 1];
  }

  /** Sets the object that its array of page pointers is kept in. */
  setArrayObject(vm: number, object: number): void {
    this.objects[2 * vm + 1] = object;
  }

  /** Gives a vm_struct's storage and its object back. */
  release(vm: number): void {
    this.liveCount--;
    if (this.cache !== null) this.cache.kmemCacheFree(this.objects[2 * vm]);
    if (this.sizeBytes[vm] >= LARGE_BYTES) this.pagesAddr.delete(vm);
    this.nrPages[2 * vm] = this.freeHead;
    this.freeHead = vm;
  }

  /** The caller's symbol as `/proc/vmallocinfo` shows it. */
  callerOf(vm: number): string {
    return this.callers[this.callerAndOrder[2 * vm] & CALLER_MASK];
  }

  /** log2 of the 4 KiB pages in one mapped page: 0, or 9 for huge mappings. */
  pageOrderOf(vm: number): number {
    return (this.callerAndOrder[2 * vm] >> CALLER_BITS) & ORDER_MASK;
  }

  /** Whether all its frames are known to be of one zone. */
  isOfOneZone(vm: number): boolean {
    return (this.callerAndOrder[2 * vm] & ONE_ZONE) !== 0;
  }

  /** Notes that all its frames are of one zone. */
  setOfOneZone(vm: number): void {
    this.callerAndOrder[2 * vm] |= ONE_ZONE;
  }

  /** Sets log2 of the 4 KiB pages in one mapped page. */
  setPageOrder(vm: number, order: number): void {
    this.callerAndOrder[2 * vm] = (this.callerAndOrder[2 * vm] & CALLER_MASK) | (order << CALLER_BITS);
  }

  /** Address of the array of page pointers when that is in vmalloc space itself, else 0: only for areas of 2 MiB and more. */
  pagesAddrOf(vm: number): number {
    return this.sizeBytes[vm] >= LARGE_BYTES ? (this.pagesAddr.get(vm) ?? 0) : 0;
  }

  /** Sets the address of its array of page pointers, which is vmalloc'ed itself. */
  setPagesAddr(vm: number, address: number): void {
    this.pagesAddr.set(vm, address);
  }

  /** Size without the guard page (`get_vm_area_size`). */
  usableSizeBytes(vm: number): number {
    return (this.flags[2 * vm] & VM_NO_GUARD) !== 0 ? this.sizeBytes[vm] : this.sizeBytes[vm] - 4096;
  }

  /** Length of its array of frames: that of the usable area. */
  arrayLength(vm: number): number {
    return this.usableSizeBytes(vm) / 4096;
  }

  /** Bytes of host memory held. */
  get hostBytes(): number {
    return this.buffer.byteLength;
  }

  private internCaller(caller: string): number {
    let index = this.callerIndex.get(caller);
    if (index === undefined) {
      index = this.callers.length;
      this.callers.push(caller);
      this.callerIndex.set(caller, index);
    }
    this.lastCaller = caller;
    this.lastCallerIndex = index;
    return index;
  }

  private grow(): void {
    const capacity = nextCapacity(this.capacity);
    this.capacity = capacity;
    const { addr } = this;
    this.buffer = new ArrayBuffer(HOST_LINE_BEGIN_BYTE + RECORD_BYTES * capacity);
    this.addr = new Float64Array(this.buffer, HOST_LINE_BEGIN_BYTE);
    this.addr.set(addr);
    this.sizeBytes = this.addr.subarray(1);
    this.requestedSizeBytes = this.addr.subarray(2);
    this.physAddr = this.addr.subarray(3);
    this.flags = new Int32Array(this.buffer, HOST_LINE_BEGIN_BYTE).subarray(FIRST_WORD);
    this.nrPages = this.flags.subarray(1);
    this.pages = unsigned(this.flags.subarray(2));
    this.callerAndOrder = this.flags.subarray(3);
    this.objects = this.flags.subarray(4);
  }
}

function unsigned(words: Int32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  return new Uint32Array(words.buffer, words.byteOffset, words.length);
}
