/** `struct vm_struct`: what a busy area is used for, as a struct of arrays; index 0 is "none". */
import { PMD_SIZE } from "../arch/linear-address.ts";
import { growFloat64, growInt32, growUint8, growUint32 } from "./grow.ts";

/** Flags of a vm_struct (`include/linux/vmalloc.h`). */
export const VM_IOREMAP = 0x1;
export const VM_ALLOC = 0x2;
export const VM_MAP = 0x4;
export const VM_USERMAP = 0x8;
export const VM_DMA_COHERENT = 0x10;
export const VM_UNINITIALIZED = 0x20;
export const VM_NO_GUARD = 0x40;
export const VM_FLUSH_RESET_PERMS = 0x100;
export const VM_MAP_PUT_PAGES = 0x200;
export const VM_ALLOW_HUGE_VMAP = 0x400;
export const VM_SPARSE = 0x1000;

const FIRST_CAPACITY = 256;
/** Smaller areas have neither large pages nor their array of page pointers in vmalloc space: `pagesAddr`, `pageOrder` are 0. */
export const LARGE_BYTES = PMD_SIZE;

/** Storage for vm_structs. */
export class VmStructs {
  /** First address of the area. */
  addr = new Float64Array(FIRST_CAPACITY);
  /** Size of the area in bytes, guard page included. */
  sizeBytes = new Float64Array(FIRST_CAPACITY);
  /** Size that the caller asked for, in bytes. */
  requestedSizeBytes = new Float64Array(FIRST_CAPACITY);
  /** Physical address that an `ioremap` area maps, else 0. Never set for `VM_ALLOC`. */
  physAddr = new Float64Array(FIRST_CAPACITY);
  flags = new Int32Array(FIRST_CAPACITY);
  /** Pages allocated for the area. */
  nrPages = new Int32Array(FIRST_CAPACITY);
  /** Offset of its array of frames in `PageArrays`, or 0. */
  pages = new Uint32Array(FIRST_CAPACITY);
  /** Address of the array of page pointers when that is in vmalloc space itself, else 0. */
  pagesAddr = new Float64Array(FIRST_CAPACITY);
  /** log2 of the 4 KiB pages in one mapped page: 0, or 9 for huge mappings. */
  pageOrder = new Uint8Array(FIRST_CAPACITY);
  /** Index into `callers`. */
  caller = new Int32Array(FIRST_CAPACITY);
  /** vm_structs in use. */
  liveCount = 0;

  private capacity = FIRST_CAPACITY;
  private used = 1;
  private freeHead = 0;
  private lastCaller = "";
  private lastCallerIndex = 0;
  private readonly callers: string[] = [""];
  private readonly callerIndex = new Map<string, number>([["", 0]]);

  /** A new vm_struct, all zero but for its flags, size asked for and caller (`symbol+0xoffset/0xsize`). */
  make(flags: number, requestedSizeBytes: number, caller: string): number {
    let vm = this.freeHead;
    if (vm !== 0) {
      this.freeHead = this.nrPages[vm];
    } else {
      if (this.used === this.capacity) this.grow();
      vm = this.used++;
    }
    this.addr[vm] = 0;
    this.sizeBytes[vm] = 0;
    this.requestedSizeBytes[vm] = requestedSizeBytes;
    this.flags[vm] = flags;
    this.nrPages[vm] = 0;
    this.pages[vm] = 0;
    this.caller[vm] = caller === this.lastCaller ? this.lastCallerIndex : this.internCaller(caller);
    this.liveCount++;
    return vm;
  }

  /** Gives a vm_struct's storage back. */
  release(vm: number): void {
    this.liveCount--;
    // Fields that few areas use are cleared only after those: every array touched is a miss in the host's TLB.
    if ((this.flags[vm] & VM_ALLOC) === 0) this.physAddr[vm] = 0;
    if (this.sizeBytes[vm] >= LARGE_BYTES) {
      this.pagesAddr[vm] = 0;
      this.pageOrder[vm] = 0;
    }
    this.nrPages[vm] = this.freeHead;
    this.freeHead = vm;
  }

  /** The caller's symbol as `/proc/vmallocinfo` shows it. */
  callerOf(vm: number): string {
    return this.callers[this.caller[vm]];
  }

  /** Size without the guard page (`get_vm_area_size`). */
  usableSizeBytes(vm: number): number {
    return (this.flags[vm] & VM_NO_GUARD) !== 0 ? this.sizeBytes[vm] : this.sizeBytes[vm] - 4096;
  }

  /** Length of its array of frames: that of the usable area. */
  arrayLength(vm: number): number {
    return this.usableSizeBytes(vm) / 4096;
  }

  /** Bytes of host memory held. */
  get hostBytes(): number {
    return this.capacity * (5 * 8 + 4 * 4 + 1);
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
    const capacity = this.capacity * 2;
    this.capacity = capacity;
    this.addr = growFloat64(this.addr, capacity);
    this.sizeBytes = growFloat64(this.sizeBytes, capacity);
    this.requestedSizeBytes = growFloat64(this.requestedSizeBytes, capacity);
    this.physAddr = growFloat64(this.physAddr, capacity);
    this.flags = growInt32(this.flags, capacity);
    this.nrPages = growInt32(this.nrPages, capacity);
    this.pages = growUint32(this.pages, capacity);
    this.pagesAddr = growFloat64(this.pagesAddr, capacity);
    this.pageOrder = growUint8(this.pageOrder, capacity);
    this.caller = growInt32(this.caller, capacity);
  }
}
