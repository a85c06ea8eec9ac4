import { describe, expect, it } from "vitest";
import { ChunkReserve } from "../../../arch/memory/chunk-reserve.ts";

const WORDS = 16;

describe("the reserve of a machine's memory", () => {
  it("hands out chunks that are zero and no other's, whatever was written to those before", () => {
    const reserve = new ChunkReserve();
    const chunks: Int32Array[] = [];
    for (let i = 1; i <= 300; i++) {
      const chunk = reserve.take(WORDS);
      expect(chunk).toEqual(new Int32Array(WORDS));
      chunks.push(chunk.fill(i));
    }
    chunks.forEach((chunk, i) => {
      expect(chunk).toEqual(new Int32Array(WORDS).fill(i + 1));
    });
  });

  it("never has more bytes than four times those in use, and few buffers", () => {
    const reserve = new ChunkReserve();
    const buffers = new Set<ArrayBufferLike>();
    let bytes = 0;
    for (let i = 1; i <= 300; i++) {
      const { buffer, byteLength } = reserve.take(WORDS);
      if (!buffers.has(buffer)) bytes += buffer.byteLength;
      buffers.add(buffer);
      expect(bytes).toBeLessThanOrEqual(4 * i * byteLength);
    }
    expect(buffers.size).toBe(6);
  });
});
