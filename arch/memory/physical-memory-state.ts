/** What physical memory holds, for saved states. */
import { checkState } from "../isa/state-error.ts";
import { CHUNK_FRAMES, FRAME_WORDS, type PhysicalMemory } from "./physical-memory.ts";

/** The frames that are not all zeros. */
export interface PhysicalMemoryState {
  /** Their numbers, ascending. */
  readonly frames: Uint32Array;
  /** The 1024 words of each, in that order. */
  readonly words: Int32Array;
}

/** Copies what memory holds. */
export function capturePhysicalMemory({ directory, zeroChunk }: PhysicalMemory): PhysicalMemoryState {
  const found: number[] = [];
  for (let index = 0; index < directory.length; index++) {
    const chunk = directory[index];
    if (chunk === zeroChunk || chunk.length === 0) continue;
    for (let frame = 0; frame < CHUNK_FRAMES; frame++) {
      if (!isZeroFrame(chunk, frame)) found.push(index * CHUNK_FRAMES + frame);
    }
  }
  const frames = Uint32Array.from(found);
  const words = new Int32Array(frames.length * FRAME_WORDS);
  for (let i = 0; i < frames.length; i++) {
    const first = (frames[i] % CHUNK_FRAMES) * FRAME_WORDS;
    const chunk = directory[Math.floor(frames[i] / CHUNK_FRAMES)];
    words.set(chunk.subarray(first, first + FRAME_WORDS), i * FRAME_WORDS);
  }
  return { frames, words };
}

/**
 * Makes memory hold just that.
 * @throws StateError for frames where no memory is
 */
export function restorePhysicalMemory(memory: PhysicalMemory, { frames, words }: PhysicalMemoryState): void {
  checkState("physical memory", words.length === frames.length * FRAME_WORDS, "has frames without contents");
  for (const chunk of memory.directory) if (chunk !== memory.zeroChunk) chunk.fill(0);
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i];
    checkState("physical memory", memory.has(frame), `has no frame 0x${frame.toString(16)}`);
    const contents = words.subarray(i * FRAME_WORDS, (i + 1) * FRAME_WORDS);
    memory.chunkForWrite(frame).set(contents, (frame % CHUNK_FRAMES) * FRAME_WORDS);
  }
}

function isZeroFrame(chunk: Int32Array, frame: number): boolean {
  const end = (frame + 1) * FRAME_WORDS;
  for (let word = frame * FRAME_WORDS; word < end; word++) if (chunk[word] !== 0) return false;
  return true;
}
