/**
 * Where chunks of physical memory, and the data caches of CPUs, have their bytes from: buffers of the host that grow with the machine, each
 * for three times as many chunks as there were before it. V8 collects garbage by how often, and how much, buffers are made: with a buffer a chunk of
 * memory, `run mixed --ops 80000` took 1.18 times as much processor time on 1024 CPUs and on 64. The host commits a large buffer page by
 * page as it is touched; of a small one, which the C library takes from its heap, it commits all, since the library clears it.
 */

/** Bytes of a buffer at most, if a chunk has no more. */
const BUFFER_BYTES_MAX = 2 ** 30;
/** Chunks of a buffer for each that there was before it. */
const GROWTH = 3;

/** Bytes for the chunks of one machine; all zero when they are handed out. */
export class ChunkReserve {
  private buffer = new ArrayBuffer(0);
  private at = 0;
  private chunks = 0;

  /** A new chunk of `words` 32-bit words, the same number each time. */
  take(words: number): Int32Array<ArrayBuffer> {
    const bytes = words * Int32Array.BYTES_PER_ELEMENT;
    if (this.at === this.buffer.byteLength) this.refill(bytes);
    const chunk = new Int32Array(this.buffer, this.at, words);
    this.at += bytes;
    return chunk;
  }

  private refill(chunkBytes: number): void {
    const chunks = Math.max(1, Math.min(Math.floor(BUFFER_BYTES_MAX / chunkBytes), GROWTH * this.chunks));
    this.buffer = new ArrayBuffer(chunks * chunkBytes);
    this.chunks += chunks;
    this.at = 0;
  }
}
