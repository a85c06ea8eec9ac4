/** Frames as buffers of the host, which compares them ten times as fast as a loop can look through them. */
import type { PhysicalMemory } from "../../../arch/index.ts";
import { bytesOver, type HostBytes, zeroBytes } from "./host-bytes.ts";

const FRAME_BYTES = 4096;
const CHUNK_FRAMES = 1024;
const ZERO_FRAME = zeroBytes(FRAME_BYTES);

/** All frames of a memory. Its chunks and their views are made, so that they need not be made anew in each schedule. */
export class FrameBytes {
  private readonly memory: PhysicalMemory;
  private readonly frames: (HostBytes | undefined)[];
  /** By frame: the round in which it was found to be zero last. */
  private readonly zeroInRound: Uint32Array;
  private round = 1;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    this.frames = new Array<HostBytes | undefined>(memory.frames);
    this.zeroInRound = new Uint32Array(memory.frames);
    for (let frame = 0; frame < memory.frames; frame += CHUNK_FRAMES) {
      if (!memory.has(frame)) continue;
      memory.entriesForWrite(frame);
      memory.frameBytes(frame);
    }
  }

  /** Whether the words of a frame lie in one chunk with those of an earlier one. */
  isNeighbour(first: number, frame: number): boolean {
    return Math.floor(first / CHUNK_FRAMES) === Math.floor(frame / CHUNK_FRAMES);
  }

  /** The bytes of `count` frames of one chunk. */
  of(first: number, count: number): HostBytes {
    const { buffer, byteOffset } = this.memory.chunkForWrite(first);
    return bytesOver(buffer, byteOffset + (first % CHUNK_FRAMES) * FRAME_BYTES, count * FRAME_BYTES);
  }

  /** Whether a frame is all zero. */
  isZero(frame: number): boolean {
    this.frames[frame] ??= this.of(frame, 1);
    return ZERO_FRAME.equals(this.frames[frame] as HostBytes);
  }

  /** As `isZero`, and notes what was zero. For code after which nothing is written before `isNotedZero` is asked. */
  noteIfZero(frame: number): boolean {
    if (!this.isZero(frame)) return false;
    this.zeroInRound[frame] = this.round;
    return true;
  }

  /** Whether a frame was noted as zero since `forgetNotes`. */
  isNotedZero(frame: number): boolean {
    return this.zeroInRound[frame] === this.round;
  }

  /** Frames may be written from now on. */
  forgetNotes(): void {
    this.round++;
  }
}
