/**
 * Physical memory: sparse, in chunks that exist once something has been written to them, so that the size of the guest's
 * memory costs nothing until it is touched. Page tables live here and nowhere else.
 */

import { MachineUsageError } from "../isa/errors.ts";
import { isMemorySize, MEMORY_SIZES } from "../isa/limits.ts";
import { ChunkReserve } from "./chunk-reserve.ts";

/**
 * Frames (of 4096 bytes) in one chunk. The host commits a chunk's memory page by page as it is touched, but V8 counts all of it:
 * with chunks of 64 MiB it collects garbage so often that booting a small kernel takes 15 ms in place of 4.
 */
export const CHUNK_FRAMES = 1024;
/** log2 of {@link CHUNK_FRAMES}. */
export const CHUNK_FRAMES_SHIFT = 10;
/** Index of a frame in its chunk. */
export const CHUNK_FRAME_MASK = CHUNK_FRAMES - 1;
/** 32-bit words in a frame. */
export const FRAME_WORDS = 1024;
/** log2 of {@link FRAME_WORDS}. */
export const FRAME_WORDS_SHIFT = 10;

const CHUNK_WORDS = CHUNK_FRAMES * FRAME_WORDS;
/** Stands in the chunk directory for addresses without memory. */
const NO_CHUNK = new Int32Array(0);
/** Stands for a view that was not made yet. */
const ZERO_DOUBLES = new Float64Array(0);

/** A physical address with no memory behind it was used: on real hardware the access would go to the bus. */
export class NoPhysicalMemory extends Error {
  override readonly name = "NoPhysicalMemory";
  /** The frame's number. */
  readonly frame: number;
  constructor(frame: number) {
    super(`no memory at physical frame 0x${frame.toString(16)}`);
    this.frame = frame;
  }
}

/** Where memory above {@link LOW_MEMORY_BYTES} goes on; device registers lie between, as on a PC. */
export const HIGH_MEMORY_START = 2 ** 32;
/** Memory below the hole for device registers. */
export const LOW_MEMORY_BYTES = 3 * 2 ** 30;

const HIGH_START_FRAME = HIGH_MEMORY_START / 4096;

/**
 * Memory in frames of 4096 bytes from physical address 0, all zero at first. What exceeds 3 GiB starts at 4 GiB.
 *
 * Hot loops take a chunk (`chunkForWrite`, `chunkForRead`) and index it themselves: the 32-bit word `w` of frame `f` is
 * `chunk[((f & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + w]`.
 */
export class PhysicalMemory {
  /** Bytes of memory. */
  readonly sizeBytes: number;
  /** Private to JavaScript as well: a machine that is set back to an earlier state must not be given the same bytes again, which are used. */
  readonly #reserve = new ChunkReserve();
  /** One past the highest frame number. */
  readonly frames: number;
  /** One past the highest frame number below the hole for device registers. */
  private readonly lowFrames: number;
  /** The chunks by number; read-only for others. */
  readonly directory: Int32Array[];
  /** By number of a chunk: 1 where it exists and all of its frames are memory; read-only for others. Once 1, it stays so. */
  readonly wholeChunks: Uint8Array;
  private readonly bytes: (Uint8Array | undefined)[];
  private readonly doubles: Float64Array[];
  /** Stands in the directory for chunks that nothing was written to. */
  readonly zeroChunk = new Int32Array(CHUNK_WORDS);

  /**
   * @param sizeBytes a positive multiple of 4096, at most `MEMORY_BYTES_MAX`
   * @throws MachineUsageError when it is not
   */
  constructor(sizeBytes: number) {
    if (!isMemorySize(sizeBytes)) {
      throw new MachineUsageError("sizeBytes", sizeBytes, MEMORY_SIZES);
    }
    this.sizeBytes = sizeBytes;
    const highBytes = Math.max(0, sizeBytes - LOW_MEMORY_BYTES);
    this.frames = (highBytes > 0 ? HIGH_MEMORY_START + highBytes : sizeBytes) / 4096;
    this.lowFrames = Math.min(sizeBytes, LOW_MEMORY_BYTES) / 4096;
    const chunkCount = Math.ceil(this.frames / CHUNK_FRAMES);
    this.directory = new Array<Int32Array>(chunkCount).fill(this.zeroChunk);
    if (highBytes > 0) {
      const hole = LOW_MEMORY_BYTES / 4096 / CHUNK_FRAMES;
      this.directory.fill(NO_CHUNK, hole, HIGH_MEMORY_START / 4096 / CHUNK_FRAMES);
    }
    this.doubles = new Array<Float64Array>(chunkCount).fill(ZERO_DOUBLES);
    this.wholeChunks = new Uint8Array(chunkCount);
    this.bytes = new Array<Uint8Array | undefined>(chunkCount);
  }

  /** Whether `frame` has memory behind it. */
  has(frame: number): boolean {
    return frame < this.lowFrames || (frame >= HIGH_START_FRAME && frame < this.frames);
  }

  /** Index of the first of `frames` that is frame 0 or has no memory behind it; -1 when all have. */
  firstWithout(frames: Uint32Array): number {
    const { lowFrames } = this;
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i];
      if (frame >= lowFrames ? !this.has(frame) : frame === 0) return i;
    }
    return -1;
  }

  /**
   * The chunk that holds `frame`, made if nothing was written there yet.
   * @throws NoPhysicalMemory beyond the end of memory
   */
  chunkForWrite(frame: number): Int32Array {
    if (frame >= this.frames) throw new NoPhysicalMemory(frame);
    const index = frame >>> CHUNK_FRAMES_SHIFT;
    const chunk = this.directory[index];
    if (chunk !== this.zeroChunk && chunk !== NO_CHUNK && chunk !== undefined) return chunk;
    return this.makeChunk(index, frame);
  }

  /**
   * The chunk that holds `frame`, or a shared chunk of zeros that must not be written.
   * @throws NoPhysicalMemory beyond the end of memory
   */
  chunkForRead(frame: number): Int32Array {
    if (frame >= this.frames) throw new NoPhysicalMemory(frame);
    const chunk = this.directory[frame >>> CHUNK_FRAMES_SHIFT];
    if (chunk === undefined || chunk === NO_CHUNK) throw new NoPhysicalMemory(frame);
    return chunk;
  }

  /** The chunk that holds `frame`, made if nothing was written there yet; null where no memory is. */
  chunkAt(frame: number): Int32Array | null {
    return this.has(frame) ? this.chunkForWrite(frame) : null;
  }

  /**
   * {@link chunkAt} where all frames of the chunk are memory; null for a chunk that memory ends in. What is known of one of its
   * frames holds for all then.
   */
  wholeChunkAt(frame: number): Int32Array | null {
    return this.has(frame | CHUNK_FRAME_MASK) ? this.chunkAt(frame) : null;
  }

  /**
   * The chunk that holds `frame` as 64-bit elements, for loops over whole entries: an entry is zero exactly when its
   * element is, and storing 0 clears it. Element `i` of frame `f` is `((f & CHUNK_FRAME_MASK) << 9) + i`.
   */
  entriesForWrite(frame: number): Float64Array {
    const entries = this.doubles[frame >>> CHUNK_FRAMES_SHIFT];
    return frame < this.frames && entries !== ZERO_DOUBLES ? entries : this.makeDoubles(frame);
  }

  /** The 32-bit word at byte offset `word * 4` of `frame`. */
  readWord(frame: number, word: number): number {
    return this.chunkForRead(frame)[((frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + word];
  }

  /** Writes the 32-bit word at byte offset `word * 4` of `frame`. */
  writeWord(frame: number, word: number, value: number): void {
    this.chunkForWrite(frame)[((frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + word] = value;
  }

  /** One byte; `offset` 0 to 4095. */
  readByte(frame: number, offset: number): number {
    return (this.readWord(frame, offset >> 2) >>> ((offset & 3) << 3)) & 0xff;
  }

  /** Writes one byte; `offset` 0 to 4095. */
  writeByte(frame: number, offset: number, value: number): void {
    this.bytesOf(frame)[((frame & CHUNK_FRAME_MASK) << 12) + offset] = value;
  }

  /** The frame's 4096 bytes, writable. The view stays valid as long as the memory. */
  frameBytes(frame: number): Uint8Array {
    const base = (frame & CHUNK_FRAME_MASK) << 12;
    return this.bytesOf(frame).subarray(base, base + 4096);
  }

  /** Copies the content of frame `from` to frame `to`. */
  copyFrame(from: number, to: number): void {
    const source = this.chunkForRead(from);
    const target = this.chunkForWrite(to);
    const first = (from & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    target.set(source.subarray(first, first + FRAME_WORDS), (to & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT);
  }

  /** Fills a frame with zeros; a frame that was never written stays untouched. */
  zeroFrame(frame: number): void {
    const chunk = this.chunkForRead(frame);
    if (chunk === this.zeroChunk) return;
    const base = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    chunk.fill(0, base, base + FRAME_WORDS);
  }

  /** Fills the `count` frames listed from `frames[offset]` on with zeros, neighbours at once. */
  zeroFrames(frames: Uint32Array, offset: number, count: number): void {
    const end = offset + count;
    for (let at = offset; at < end; ) {
      const first = frames[at];
      const inChunk = first & CHUNK_FRAME_MASK;
      const runMax = Math.min(end - at, CHUNK_FRAMES - inChunk);
      let run = 1;
      while (run < runMax && frames[at + run] === first + run) run++;
      const chunk = this.chunkForRead(first);
      const base = inChunk << FRAME_WORDS_SHIFT;
      if (chunk !== this.zeroChunk) chunk.fill(0, base, base + (run << FRAME_WORDS_SHIFT));
      at += run;
    }
  }

  /** Fills `count` 32-bit words of a frame with zeros, from `word` on. */
  zeroWords(frame: number, word: number, count: number): void {
    const chunk = this.chunkForRead(frame);
    if (chunk === this.zeroChunk) return;
    const base = ((frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + word;
    chunk.fill(0, base, base + count);
  }

  /** Bytes of chunks that exist, which is the most that the host can have committed. */
  get touchedBytes(): number {
    let count = 0;
    for (const chunk of this.directory) if (chunk !== this.zeroChunk && chunk !== NO_CHUNK) count++;
    return count * CHUNK_WORDS * 4;
  }

  private bytesOf(frame: number): Uint8Array {
    const index = frame >>> CHUNK_FRAMES_SHIFT;
    return this.bytes[index] ?? this.makeBytes(index, frame);
  }

  private makeBytes(index: number, frame: number): Uint8Array {
    const { buffer, byteOffset, byteLength } = this.chunkForWrite(frame);
    const made = new Uint8Array(buffer, byteOffset, byteLength);
    this.bytes[index] = made;
    return made;
  }

  private makeDoubles(frame: number): Float64Array {
    const { buffer, byteOffset, length } = this.chunkForWrite(frame);
    const made = new Float64Array(buffer, byteOffset, length / 2);
    this.doubles[frame >>> CHUNK_FRAMES_SHIFT] = made;
    return made;
  }

  private makeChunk(index: number, frame: number): Int32Array {
    if (!this.has(frame)) throw new NoPhysicalMemory(frame);
    const made = this.#reserve.take(CHUNK_WORDS);
    this.directory[index] = made;
    if (this.has(frame | CHUNK_FRAME_MASK)) this.wholeChunks[index] = 1;
    return made;
  }
}
