/** Moving 1 to 8 bytes at physical addresses, possibly on two pages. Where there is no memory, reads give ones and writes vanish. */
import type { PhysicalMemory } from "./physical-memory.ts";

/** A place in memory: an offset in one frame, and the frame where it goes on. */
export class PhysicalBytes {
  private readonly memory: PhysicalMemory;
  private frame = 0;
  private offset = 0;
  /** The frame that holds the bytes beyond the first page. */
  next = 0;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Chooses the place. */
  at(frame: number, offset: number): void {
    this.frame = frame;
    this.offset = offset;
  }

  /** Reads 1 to 4 bytes, zero-extended. */
  read(sizeBytes: number): number {
    const { memory, frame, offset } = this;
    if (sizeBytes === 4 && (offset & 3) === 0 && memory.has(frame)) return memory.readWord(frame, offset >> 2) >>> 0;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value |= this.readByte(i) << (i * 8);
    return value >>> 0;
  }

  /** Reads 1 to 8 bytes. */
  read64(sizeBytes: number): bigint {
    let value = 0n;
    for (let i = 0; i < sizeBytes; i++) value |= BigInt(this.readByte(i)) << BigInt(i * 8);
    return value;
  }

  /** Writes the low 1 to 4 bytes of `value`. */
  write(value: number, sizeBytes: number): void {
    const { memory, frame, offset } = this;
    if (sizeBytes === 4 && (offset & 3) === 0) {
      if (memory.has(frame)) memory.writeWord(frame, offset >> 2, value);
      return;
    }
    for (let i = 0; i < sizeBytes; i++) this.writeByte(i, (value >>> (i * 8)) & 0xff);
  }

  /** Writes the low 1 to 8 bytes of `value`. */
  write64(value: bigint, sizeBytes: number): void {
    for (let i = 0; i < sizeBytes; i++) this.writeByte(i, Number((value >> BigInt(i * 8)) & 0xffn));
  }

  /** Reads an aligned word. */
  readWord(frame: number, offset: number): number {
    this.at(frame, offset);
    return this.read(4);
  }

  /** Writes the bits of `mask` in an aligned word. */
  writeBits(frame: number, offset: number, mask: number, value: number): void {
    this.write((this.readWord(frame, offset) & ~mask) | (value & mask), 4);
  }

  /** Writes a byte. By a view of bytes: were its word read before, the host's first touch of a page would be two faults. */
  writeByteAt(frame: number, offset: number, value: number): void {
    if (this.memory.has(frame)) this.memory.writeByte(frame, offset, value);
  }

  private readByte(i: number): number {
    const offset = this.offset + i;
    const frame = offset < 4096 ? this.frame : this.next;
    return this.memory.has(frame) ? this.memory.readByte(frame, offset & 4095) : 0xff;
  }

  private writeByte(i: number, value: number): void {
    const offset = this.offset + i;
    const frame = offset < 4096 ? this.frame : this.next;
    if (this.memory.has(frame)) this.memory.writeByte(frame, offset & 4095, value);
  }
}

/** The bits that an access of 1, 2 or 4 bytes covers of the word that it lies in; 0 when it crosses words, or is another. */
export function maskInWord(low: number, sizeBytes: number): number {
  if (sizeBytes === 4) return (low & 3) === 0 ? -1 : 0;
  if ((sizeBytes !== 2 && sizeBytes !== 1) || (low & 3) + sizeBytes > 4) return 0;
  return ((1 << (sizeBytes << 3)) - 1) << ((low & 3) << 3);
}
