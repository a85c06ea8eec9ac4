/**
 * What a CPU does with memory: loads, stores, fetches. `load`, `store` and `touch` begin with the fast path's predicted hits
 * (arch/fast-path/README.md), go on with the rest of it, and leave what it does not do to `Mmu`.
 */

import type { AccessPath } from "../fast-path/access-path.ts";
import * as results from "../fast-path/results.ts";
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access, TLB_KIND } from "../isa/access.ts";
import { MachineUsageError } from "../isa/errors.ts";
import { WIDE_PAGES } from "../isa/linear-address.ts";
import { VENDOR_RULES } from "../isa/vendor.ts";
import { maskInWord, PhysicalBytes } from "../memory/physical-bytes.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import { allocateArrays } from "../tlb/allocate-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { MemoryTypes } from "../walk/memory-type.ts";
import { checkAccess } from "./access-check.ts";
import { ControlRegisters } from "./control-registers.ts";
import type { CpuParts } from "./cpu-parts.ts";
import { Mmu } from "./mmu.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { CELL_SHIFT, COUNTERS_CELL, LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT } = layout;
const { REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { MISSED } = results;
/** Pages of 2 MiB in a byte. */
const PER_LARGE_PAGE = 2 ** -21;

/** The part of a CPU that accesses memory. Addresses are numbers in 48-bit form, or bigints of 64 bits (linear-address.ts). */
export class CpuMemory {
  /** Number of the CPU. */
  readonly id: number;
  /** Its memory-management unit. */
  readonly mmu: Mmu;
  /** Its control registers. */
  readonly registers: ControlRegisters;
  /** Its PAT and MTRRs. */
  readonly memoryTypes: MemoryTypes;
  private readonly memory: PhysicalMemory;
  private readonly bytes: PhysicalBytes;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  /** Word of the first prediction of loads; cell of the first counter. */
  private readonly predictionsAt: number;
  private readonly countersAt: number;
  /** The fast paths of `Mmu.fastPath`, without that object in between: with many CPUs it is not in the host's caches. */
  private readonly loads: AccessPath;
  private readonly stores: AccessPath;
  /** The clocks of all CPUs. */
  private readonly clocks: Float64Array;
  /** Where a hit notes its place for the replacement state (`ReplacementState.isTree`), of loads and of stores; else -1. */
  private loadRoots: number;
  private readonly loadPairs: number;
  private storeRoots: number;
  private readonly storePairs: number;
  /** The chunk that was accessed last, and its first frame; only chunks that exist, as others are replaced when they are made. At first no frame is near. */
  private chunk: Int32Array;
  private chunkFirst = -(2 ** 30);
  private readonly loadCycles: number;
  private readonly storeCycles: number;
  private readonly fetchCycles: number;

  constructor(id: number, parts: CpuParts) {
    const { preset, loop, memory, features, maxPhyAddr } = parts;
    const arrays = allocateArrays(preset, parts.commonArrays);
    const vendor = VENDOR_RULES[preset.vendor];
    this.id = id;
    this.mmu = new Mmu(id, loop.clockCycles, parts, vendor, arrays, parts.shared?.mmu);
    ({ words: this.words, cells: this.cells } = arrays);
    this.predictionsAt = arrays.firstWord + LOAD_PREDICTIONS_WORD;
    this.countersAt = arrays.firstCell + COUNTERS_CELL;
    ({ loads: this.loads, stores: this.stores } = this.mmu.fastPath);
    this.bytes = new PhysicalBytes(memory);
    this.memory = memory;
    this.memoryTypes = new MemoryTypes(features, maxPhyAddr, vendor);
    const spend = (cycles: number) => this.spend(cycles);
    this.registers = new ControlRegisters(this.mmu, features, maxPhyAddr, preset, vendor, this.memoryTypes, spend);
    this.registers.reset(parts.levels);
    this.clocks = loop.clockCycles;
    this.chunk = memory.directory[0];
    const [loads, stores] = this.mmu.tlbs.tlbsByKind().map(({ first }) => first[0][0].replacement);
    ({ rootsAt: this.loadRoots, pairsAt: this.loadPairs } = loads);
    ({ rootsAt: this.storeRoots, pairsAt: this.storePairs } = stores);
    this.loadCycles = preset.costs.load.value;
    this.storeCycles = preset.costs.store.value;
    this.fetchCycles = preset.costs.fetch.value;
  }

  /**
   * Reads 1 to 4 bytes at linear address `la`, little-endian, zero-extended. Where no memory answers, bits read as ones.
   * @throws PageFault, with CR2 set
   * @throws GeneralProtectionFault for an address (given as a bigint) that is not canonical
   */
  load(la: number | bigint, sizeBytes: number): number {
    if (typeof la !== "number") return this.loadAt(this.mmu.pointers.resolve(0, la), sizeBytes) >>> 0;
    const low = la | 0;
    const offset = low & 4095;
    const { words, cells } = this;
    if (sizeBytes !== 4 || (offset & 3) !== 0) return this.loadPart(0, la, sizeBytes) >>> 0;
    const place = words[((low >>> 12) & PREDICTIONS_MASK) + this.predictionsAt];
    if (cells[place << CELL_SHIFT] !== la - offset) {
      cells[REQUESTED_PAGE_CELL] = la - offset;
      return this.loadMissed(low, (la * PER_LARGE_PAGE) | 0) >>> 0;
    }
    if (this.loadRoots >= 0) {
      words[(this.loadRoots + (place & ~3)) | 0] = place;
      words[(this.loadPairs + (place & ~1)) | 0] = place;
    } else {
      this.loads.use(place);
    }
    cells[this.countersAt]++;
    this.clocks[this.id] += this.loadCycles;
    const frame = words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
    let at = (frame - this.chunkFirst) | 0;
    if ((at & ~CHUNK_FRAME_MASK) !== 0) at = this.chooseChunk(frame);
    return this.chunk[(at << FRAME_WORDS_SHIFT) | (offset >> 2)] >>> 0;
  }

  /**
   * Writes the low 1 to 4 bytes of `value` at linear address `la`, little-endian. A store that crosses into a page that
   * faults writes nothing. Where no memory answers, the write is lost.
   * @throws PageFault, with CR2 set
   * @throws GeneralProtectionFault for an address (given as a bigint) that is not canonical
   */
  store(la: number | bigint, sizeBytes: number, value: number): void {
    if (typeof la !== "number") {
      this.storeAt(this.mmu.pointers.resolve(1, la), sizeBytes, value);
      return;
    }
    const low = la | 0;
    const offset = low & 4095;
    const { words, cells } = this;
    if (sizeBytes !== 4 || (offset & 3) !== 0) {
      this.storePart(la, sizeBytes, value);
      return;
    }
    const place = words[((low >>> 12) & PREDICTIONS_MASK) + this.predictionsAt + (1 << PREDICTIONS_SHIFT)];
    const record = place << WORD_SHIFT;
    if (cells[place << CELL_SHIFT] !== la - offset || words[(record + WORD_ATTRIBUTES) | 0] >= 0) {
      cells[REQUESTED_PAGE_CELL] = la - offset;
      this.storeMissed(low, (la * PER_LARGE_PAGE) | 0, value);
      return;
    }
    if (this.storeRoots >= 0) {
      words[(this.storeRoots + (place & ~3)) | 0] = place;
      words[(this.storePairs + (place & ~1)) | 0] = place;
    } else {
      this.stores.use(place);
    }
    cells[this.countersAt + 1]++;
    this.clocks[this.id] += this.storeCycles;
    const frame = words[(record + WORD_FRAME) | 0];
    let at = (frame - this.chunkFirst) | 0;
    if ((at & ~CHUNK_FRAME_MASK) !== 0) at = this.chooseChunk(frame);
    this.chunk[(at << FRAME_WORDS_SHIFT) | (offset >> 2)] = value;
  }

  /** Fetches 1 to 4 bytes of instructions; otherwise as {@link load}. */
  fetch(la: number | bigint, sizeBytes: number): number {
    const at = typeof la === "number" ? la : this.mmu.pointers.resolve(2, la);
    return at < WIDE_PAGES ? this.loadPart(2, at, sizeBytes) : this.loadSlow(2, at, sizeBytes);
  }

  /**
   * Translates `la` for a load as {@link load} does, with all its effects, but without reading memory; returns the physical
   * address. For references whose data does not matter.
   */
  touch(la: number): number {
    const low = la | 0;
    const offset = low & 4095;
    const { words, cells } = this;
    const place = words[((low >>> 12) & PREDICTIONS_MASK) + this.predictionsAt];
    if (cells[place << CELL_SHIFT] !== la - offset) {
      cells[REQUESTED_PAGE_CELL] = la - offset;
      const frame = this.loads.translate(low >>> 12, (la * PER_LARGE_PAGE) | 0) | 0;
      return frame >= 0 ? frame * 4096 + offset : this.touchGeneral(0, low, frame);
    }
    if (this.loadRoots >= 0) {
      words[(this.loadRoots + (place & ~3)) | 0] = place;
      words[(this.loadPairs + (place & ~1)) | 0] = place;
    } else {
      this.loads.use(place);
    }
    cells[this.countersAt]++;
    this.clocks[this.id] += this.loadCycles;
    return words[((place << WORD_SHIFT) + WORD_FRAME) | 0] * 4096 + offset;
  }

  /** Translates `la` for an access of any kind, with all its effects, but without moving data. Returns the physical address. */
  touchAs(access: Access, la: number): number {
    const low = la | 0;
    this.cells[REQUESTED_PAGE_CELL] = la - (low & 4095);
    return this.touchMissed(access, low, (la * PER_LARGE_PAGE) | 0);
  }

  /** Reads 1 to 8 bytes as a bigint, by default as an explicit data read. */
  load64(la: number | bigint, sizeBytes = 8, access: Access = ACCESS_LOAD): bigint {
    checkAccess(access, this.registers);
    this.locate(access, typeof la === "number" ? la : this.mmu.pointers.resolve(access, la), sizeBytes);
    return this.bytes.read64(sizeBytes);
  }

  /** Writes the low 1 to 8 bytes of a bigint, by default as an explicit data write. */
  store64(la: number | bigint, value: bigint, sizeBytes = 8, access: Access = ACCESS_STORE): void {
    checkAccess(access, this.registers);
    this.locate(access, typeof la === "number" ? la : this.mmu.pointers.resolve(access, la), sizeBytes);
    this.bytes.write64(value, sizeBytes);
  }

  /**
   * A load of any kind of access: implicit, shadow-stack, fetch; 1 to 4 bytes.
   * @throws InvalidOpcode for a shadow-stack access while CR4.CET = 0
   */
  loadAs(access: Access, la: number | bigint, sizeBytes: number): number {
    checkAccess(access, this.registers);
    return this.loadSlow(access, typeof la === "number" ? la : this.mmu.pointers.resolve(access, la), sizeBytes);
  }

  /**
   * A store of any kind of access: implicit, shadow-stack; 1 to 4 bytes.
   * @throws InvalidOpcode for a shadow-stack access while CR4.CET = 0
   * @throws GeneralProtectionFault for WRUSS at CPL 1 to 3
   */
  storeAs(access: Access, la: number | bigint, sizeBytes: number, value: number): void {
    checkAccess(access, this.registers);
    this.storeSlow(access, typeof la === "number" ? la : this.mmu.pointers.resolve(access, la), sizeBytes, value);
  }

  /** Has hits recorded by the fast path, which an attribution sees. */
  protected recordHitsApart(): void {
    this.loadRoots = -1;
    this.storeRoots = -1;
  }

  /** Lets time pass on this CPU. */
  protected spend(cycles: number): void {
    this.clocks[this.id] += cycles;
  }

  /** A load at an address that was resolved; {@link storeAt}: a store. */
  private loadAt(la: number, sizeBytes: number): number {
    return la < WIDE_PAGES ? this.load(la, sizeBytes) : this.loadSlow(0, la, sizeBytes);
  }

  private storeAt(la: number, sizeBytes: number, value: number): void {
    if (la < WIDE_PAGES) this.store(la, sizeBytes, value);
    else this.storeSlow(1, la, sizeBytes, value);
  }

  /**
   * A load of an aligned word in the page whose address is in cell `REQUESTED_PAGE_CELL`, which is not predicted; `low`: bits
   * 31:0 of the address, `largeNumber`: the number of its 2 MiB. (An address that is an argument of a call that is not inlined would be put on the heap.)
   */
  private loadMissed(low: number, largeNumber: number): number {
    const frame = this.loads.translate(low >>> 12, largeNumber) | 0;
    if (frame >= 0) return this.read(frame, low);
    const la = this.cells[REQUESTED_PAGE_CELL] + (low & 4095);
    if (frame === MISSED) this.fillFor(0, la);
    else this.locate(0, la, 4);
    return this.bytes.read(4);
  }

  /** A store; otherwise as {@link loadMissed}. */
  private storeMissed(low: number, largeNumber: number, value: number): void {
    const frame = this.stores.translate(low >>> 12, largeNumber) | 0;
    if (frame >= 0) {
      this.write(frame, low, -1, value);
      return;
    }
    const la = this.cells[REQUESTED_PAGE_CELL] + (low & 4095);
    if (frame === MISSED) this.fillFor(1, la);
    else this.locate(1, la, 4);
    this.bytes.write(value, 4);
  }

  /** An access to a page that no TLB holds, up to where its data are. */
  private fillFor(access: Access, la: number): void {
    this.mmu.fill(access, la);
    this.bytes.at(this.mmu.tlbs.currentFrame(la), la & 4095);
    this.count(access);
  }

  /** A fetch, or a load that is not of an aligned word. */
  private loadPart(kind: 0 | 2, la: number, sizeBytes: number): number {
    const low = la | 0;
    this.cells[REQUESTED_PAGE_CELL] = la - (low & 4095);
    const mask = maskInWord(low, sizeBytes);
    const frame = mask === 0 ? -1 : this.frameOf(kind, low, (la * PER_LARGE_PAGE) | 0);
    if (frame < 0) return this.loadSlow(kind, la, sizeBytes);
    return (this.read(frame, low) & mask) >>> ((low & 3) << 3);
  }

  /** A store that is not of an aligned word. */
  private storePart(la: number, sizeBytes: number, value: number): void {
    const low = la | 0;
    this.cells[REQUESTED_PAGE_CELL] = la - (low & 4095);
    const mask = maskInWord(low, sizeBytes);
    const frame = mask === 0 ? -1 : this.frameOf(1, low, (la * PER_LARGE_PAGE) | 0);
    if (frame < 0) this.storeSlow(1, la, sizeBytes, value);
    else if (sizeBytes === 1) this.bytes.writeByteAt(frame, low & 4095, value);
    else this.write(frame, low, mask, value << ((low & 3) << 3));
  }

  /** Translates for an access in the page whose address is in `REQUESTED_PAGE_CELL`; `low`: bits 31:0 of the address. */
  private touchMissed(access: Access, low: number, largeNumber: number): number {
    const frame = access >>> 0 === access && access <= ACCESS_FETCH ? this.frameOf(access, low, largeNumber) : -1;
    return frame >= 0 ? frame * 4096 + (low & 4095) : this.touchGeneral(access, low, frame);
  }

  /**
   * Translates the page whose address is in cell `REQUESTED_PAGE_CELL` after the fast path has left the access to the general one: its
   * `result` says where that begins; `low`: bits 31:0 of the address. For `BulkTouch`.
   */
  touchGeneral(access: Access, low: number, result: number): number {
    const la = this.cells[REQUESTED_PAGE_CELL] + (low & 4095);
    if (result === MISSED) {
      this.mmu.fill(access, la);
    } else {
      checkAccess(access, this.registers);
      this.mmu.pointers.check(access, la, 1);
      this.mmu.translate(access, la);
    }
    this.count(access);
    return this.mmu.tlbs.currentFrame(la) * 4096 + (la & 4095);
  }

  /** The frame of the page in cell `REQUESTED_PAGE_CELL` after an access of `kind`, predicted or not; -1 if not done here. */
  private frameOf(kind: number, low: number, largeNumber: number): number {
    const { words, cells } = this;
    const path = kind === 0 ? this.loads : kind === 1 ? this.stores : this.mmu.fastPath.fetches;
    // With many CPUs neither the prediction nor the entry that it names is in the host's caches.
    if (path.isAbsentInFirst(low >>> 12)) return path.translate(low >>> 12, largeNumber);
    const place = words[((low >>> 12) & PREDICTIONS_MASK) + this.predictionsAt + (kind << PREDICTIONS_SHIFT)];
    const isPredicted = cells[place << CELL_SHIFT] === cells[REQUESTED_PAGE_CELL];
    if (isPredicted && (kind !== 1 || words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] < 0)) return path.touch(place);
    return path.translate(low >>> 12, largeNumber);
  }

  /** Reads the word of an address in a page that is in `frame`. */
  private read(frame: number, low: number): number {
    const word = this.wordOf(frame, low) | 0;
    return word < 0 ? this.bytes.readWord(frame, low & 4092) : this.chunk[word] >>> 0;
  }

  /** Writes the bits of `mask` in the word of an address in a page that is in `frame`. */
  private write(frame: number, low: number, mask: number, value: number): void {
    const word = this.wordOf(frame, low) | 0;
    if (word < 0) this.bytes.writeBits(frame, low & 4092, mask, value);
    else this.chunk[word] = mask === -1 ? value : (this.chunk[word] & ~mask) | (value & mask);
  }

  /** Which word of `chunk` it is; less than 0 where a page of 1 GiB has no memory, or the last of it. */
  private wordOf(frame: number, low: number): number {
    let at = (frame - this.chunkFirst) | 0;
    if ((at & ~CHUNK_FRAME_MASK) !== 0) at = this.memory.wholeChunkAt(frame) === null ? -1 : this.chooseChunk(frame);
    return (at << FRAME_WORDS_SHIFT) | ((low & 4095) >> 2);
  }

  /** Takes the chunk of memory that `frame` is in, which is a whole one; returns the number of the frame in it. */
  private chooseChunk(frame: number): number {
    this.chunk = this.memory.directory[frame >>> CHUNK_FRAMES_SHIFT];
    this.chunkFirst = frame & ~CHUNK_FRAME_MASK;
    return frame & CHUNK_FRAME_MASK;
  }

  private loadSlow(access: Access, la: number, sizeBytes: number): number {
    if (sizeBytes > 4) throw new MachineUsageError("access size", sizeBytes, "1 to 4 bytes; 5 to 8 with load64");
    this.locate(access, la, sizeBytes);
    return this.bytes.read(sizeBytes);
  }

  private storeSlow(access: Access, la: number, sizeBytes: number, value: number): void {
    if (sizeBytes > 4) throw new MachineUsageError("access size", sizeBytes, "1 to 4 bytes; 5 to 8 with store64");
    this.locate(access, la, sizeBytes);
    this.bytes.write(value, sizeBytes);
  }

  /** Translates every page of an access, which may begin in a wide page (pointers.ts), before any byte of it moves. */
  private locate(access: Access, la: number, sizeBytes: number): void {
    const { mmu, bytes } = this;
    const next = mmu.pointers.check(access, la, sizeBytes);
    mmu.translate(access, la);
    bytes.at(mmu.tlbs.currentFrame(la), mmu.pointers.offset);
    if (next >= 0) {
      mmu.pointers.offset = 0;
      mmu.translate(access, next);
      bytes.next = mmu.tlbs.currentFrame(next);
    }
    this.count(access);
  }

  private count(access: Access): void {
    const kind = TLB_KIND[access];
    this.cells[this.countersAt + kind]++;
    this.clocks[this.id] += kind === 0 ? this.loadCycles : kind === 1 ? this.storeCycles : this.fetchCycles;
  }
}
