/** Records of drmemtrace and of ChampSim. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BatchWriter } from "../../../src/references/batch-writer.ts";
import { ChampsimRecords } from "../../../src/references/champsim-records.ts";
import { DrmemtraceRecords } from "../../../src/references/drmemtrace-records.ts";
import { type DrRecord, drHead, encodeChampsim, encodeDrmemtrace, parsed } from "./trace-encoders.ts";

const drmemtrace = (writer: BatchWriter) => new DrmemtraceRecords("a.trace", writer, () => 0);
const champsim = (writer: BatchWriter) => new ChampsimRecords("a.champsimtrace", writer);

describe("records of drmemtrace", () => {
  it("become loads, stores and fetches; markers, prefetches, flushes and encodings do not", () => {
    const records: DrRecord[] = [
      ...drHead(7, 9),
      [28, 2, 13_300_000_000_000_000],
      [47, 3, 0xc3],
      [10, 3, 0x401000],
      [0, 8, 0x7fff0000],
      [1, 4, 0x7fff0008],
      [4, 64, 0x5000],
      [48, 2, 0x401003],
      [49, 2, 0x401005],
      [29, 2, 0x401005],
      [31, 2, 0x401007],
      [20, 64, 0x6000],
      [23, 4, 7],
      [26, 0, 0],
    ];
    const { seen, parser } = parsed(drmemtrace, encodeDrmemtrace(records));
    expect(seen).toEqual(["@7", "I 401000", "L 7fff0000", "S 7fff0008", "I 401003", "I 401005", "I 401007"]);
    expect(parser).toMatchObject({ records: records.length, references: 6, odd: 0 });
  });

  it("that cross a page are in both pages, kernel addresses are theirs, and addresses that are not canonical are counted", () => {
    const records: DrRecord[] = [
      ...drHead(1, 1),
      [0, 16, 0x1ff8],
      [1, 8, 0xffff_ffff_8100_0000n],
      [0, 8, 0x8000_0000_0000n],
      [0, 8, 0x2000],
    ];
    const { seen, parser } = parsed(drmemtrace, encodeDrmemtrace(records));
    expect(seen.slice(1)).toEqual(["L 1ff8", "+L 2000", "S ffff81000000", "L 2000"]);
    expect(parser).toMatchObject({ odd: 1, firstOdd: 8 });
  });

  it("of instructions in bundles follow each other", () => {
    // Lengths 5, 2 and 15, the first in the lowest byte.
    const { seen } = parsed(drmemtrace, encodeDrmemtrace([...drHead(1, 1), [10, 3, 0x1000], [17, 3, 0x0f_02_05]]));
    expect(seen.slice(1)).toEqual(["I 1000", "I 1003", "I 1008", "I 100a"]);
  });

  it("say whose the references after them are", () => {
    const records: DrRecord[] = [
      ...drHead(1, 5),
      [0, 8, 0x1000],
      [22, 4, 2],
      [0, 8, 0x2000],
      [22, 4, 1],
      [0, 8, 0x3000],
    ];
    const { seen } = parsed(drmemtrace, encodeDrmemtrace(records));
    expect(seen).toEqual(["@1", "L 1000", "@2", "L 2000", "@1", "L 3000"]);
  });

  it("may be cut anywhere into pieces", () => {
    const record: fc.Arbitrary<DrRecord> = fc.tuple(
      fc.constantFrom(0, 1, 2, 10, 16, 28, 47, 48),
      fc.integer({ min: 1, max: 64 }).filter((kind) => kind !== 9),
      fc.bigInt({ min: 0n, max: 2n ** 47n - 1n }),
    );
    fc.assert(
      fc.property(fc.array(record, { maxLength: 50 }), fc.integer({ min: 1, max: 40 }), (records, piece) => {
        const bytes = encodeDrmemtrace([...drHead(3, 4), ...records]);
        const whole = parsed(drmemtrace, bytes);
        expect(parsed(drmemtrace, bytes, piece).seen).toEqual(whole.seen);
        const references = records.filter(([type]) => [0, 1, 10, 16, 48].includes(type));
        expect(whole.parser.references).toBe(references.length);
      }),
    );
  });

  it.each([
    [[[99, 0, 0]], "a.trace: record 6: has type 99, and there are types 0 to 49"],
    [[[17, 9, 0]], "a.trace: record 6: is a bundle of 9 instructions, expected at most 8"],
    [[[28, 9, 0x20]], "a.trace: record 6: says that the traced program has 32 bits; 64 are read"],
    [[[25, 0, 0]], "a.trace: record 6: is a header with version 0, expected 1 to 255"],
  ] as [DrRecord[], string][])("%j are refused by number", (records, message) => {
    expect(() => parsed(drmemtrace, encodeDrmemtrace([...drHead(1, 1), ...records]))).toThrow(message);
  });

  it("that are cut short are named", () => {
    const bytes = encodeDrmemtrace(drHead(1, 1)).subarray(0, 55);
    expect(() => parsed(drmemtrace, bytes)).toThrow(
      "a.trace: record 5: has 7 bytes, expected 12 (is the file cut short?)",
    );
  });
});

describe("records of ChampSim", () => {
  it("are an instruction, what it reads, then what it writes; 0 is no address", () => {
    const bytes = encodeChampsim([
      { ip: 0x400000, reads: [0x1000, 0, 0x2000], writes: [0, 0x3000] },
      { ip: 0x400004, isBranch: 1 },
    ]);
    const { seen, parser } = parsed(champsim, bytes, 50);
    expect(seen).toEqual(["I 400000", "L 1000", "L 2000", "S 3000", "I 400004"]);
    expect(parser).toMatchObject({ records: 2, odd: 0 });
  });

  it("fill batches to their ends and not beyond", () => {
    const instructions = Array.from({ length: 5000 }, (_, i) => ({
      ip: 0x400000 + i,
      reads: [1, 2, 3, 4].map((k) => k * 4096 + i),
      writes: [0x9000 + i, 0xa000 + i],
    }));
    const { seen } = parsed(champsim, encodeChampsim(instructions));
    expect(seen).toHaveLength(7 * instructions.length);
    expect(seen.slice(-2)).toEqual(["S a387", "S b387"]);
  });

  it("that cannot be instructions are refused by number, and one that is cut short is named", () => {
    const bytes = encodeChampsim([{ ip: 0x400000 }, { ip: 0x400000, isBranch: 7 }]);
    expect(() => parsed(champsim, bytes)).toThrow("a.champsimtrace: record 2: is no instruction of ChampSim");
    expect(() => parsed(champsim, encodeChampsim([{ ip: 1 }]).subarray(0, 60))).toThrow(
      /record 1: has 60 bytes, expected 64/,
    );
    const odd = parsed(champsim, encodeChampsim([{ ip: 1, reads: [0x8000_0000_0000n, 0x1000] }]));
    expect(odd).toMatchObject({ seen: ["I 1", "L 1000"], parser: { odd: 1, firstOdd: 1 } });
  });
});
