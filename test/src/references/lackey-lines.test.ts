import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BatchWriter } from "../../../src/references/batch-writer.ts";
import { LackeyLines } from "../../../src/references/lackey-lines.ts";
import { PlainLines } from "../../../src/references/plain-lines.ts";
import { ReferenceBatch } from "../../../src/references/reference-batch.ts";
import { collector, parsed } from "./trace-encoders.ts";

const makeLines = (writer: ConstructorParameters<typeof LackeyLines>[0]) => new LackeyLines(writer);

/** The references of a trace, read the slow and obvious way, as `collector` shows them. */
function plainReferences(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(I | L| S| M) +([0-9a-fA-F]+),(\d+)\r?$/.exec(line);
    if (match === null) return [];
    const [la, size] = [Number.parseInt(match[2], 16), Number(match[3])];
    if (la >= 2 ** 47 || size === 0) return [];
    const parts = (kind: string): string[] => {
      const all = [`${kind} ${la.toString(16)}`];
      for (let page = Math.floor(la / 4096) + 1; page <= Math.floor((la + size - 1) / 4096); page++) {
        all.push(`+${kind} ${(page * 4096).toString(16)}`);
      }
      return all;
    };
    return match[1] === " M" ? [...parts("L"), ...parts("S")] : parts(match[1].trim());
  });
}

describe("lines of a lackey trace", () => {
  const line = fc.oneof(
    fc
      .tuple(
        fc.constantFrom("I ", " L", " S", " M"),
        fc.oneof(fc.integer({ min: 0, max: 2 ** 47 - 1 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
        fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 16000 })),
        fc.constantFrom("", "\r"),
        fc.boolean(),
      )
      .map(([kind, la, size, end, isUpper]) => {
        const digits = la.toString(16).padStart(8, "0");
        return `${kind} ${isUpper ? digits.toUpperCase() : digits},${size}${end}`;
      }),
    fc.constantFrom("==12== message", "--12-- warning", "", "I", " L", "I  ,4", " L 12", " S 12,", " X 12,4", "hello"),
    fc.constantFrom(
      "I  0400000g,3",
      "I  04000000.3",
      " L 1ffeffe7e,8",
      " S 800000000000,8",
      " L 04000000,0",
      " L 04000000,8x",
    ),
    fc.string({ maxLength: 12 }).map((text) => text.replace(/[\n\r]/g, "")),
  );

  it("are cut out of pieces of any size as out of the whole", () => {
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 40 }),
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        (lines, piece, cut) => {
          const text = lines.join("\n") + (cut ? "" : "\n");
          const bytes = new TextEncoder().encode(text);
          const whole = parsed(makeLines, bytes);
          const pieces = parsed(makeLines, bytes, piece);
          expect(pieces.seen).toEqual(plainReferences(text));
          expect(whole.seen).toEqual(pieces.seen);
          for (const count of ["records", "references", "odd", "firstOdd"] as const) {
            expect(whole.parser[count], count).toBe(pieces.parser[count]);
          }
        },
      ),
    );
  });

  it("fill batches one after another, whatever stands at their ends", () => {
    const lines = Array.from(
      { length: 30_000 },
      (_, i) => ` ${"LSM"[i % 3]} ${(i * 1365).toString(16).padStart(8, "0")},8`,
    );
    const text = `${lines.join("\n")}\n`;
    expect(parsed(makeLines, new TextEncoder().encode(text)).seen).toEqual(plainReferences(text));
  });

  it("that are neither references nor valgrind's messages are counted, and the first is named", () => {
    const text = "==1== Lackey\nI  04,3\n a program's output\n L 800000000000,8\n M 10,4\r\n";
    const { parser } = parsed(makeLines, new TextEncoder().encode(text));
    expect(parser).toMatchObject({ records: 5, references: 2, odd: 2, firstOdd: 3 });
  });

  it("are read alike on a host without WebAssembly", () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
        const bytes = new TextEncoder().encode(`${lines.join("\n")}\n`);
        const quick = parsed(makeLines, bytes);
        const plain = parsed((writer) => new LackeyLines(writer, null), bytes);
        expect(plain.seen).toEqual(quick.seen);
        for (const count of ["records", "references", "odd", "firstOdd"] as const) {
          expect(plain.parser[count], count).toBe(quick.parser[count]);
        }
      }),
    );
  });

  it("that never end cost no memory", () => {
    const reader = new LackeyLines(collector().writer);
    const piece = new Uint8Array(100_000).fill(0x41);
    for (let i = 0; i < 100; i++) reader.feed(piece);
    reader.feed(new TextEncoder().encode("\nI  04,3\n"));
    expect(reader).toMatchObject({ records: 2, references: 1 });
  });
});

describe("lines of the usual form", () => {
  const parse = (text: string) => {
    const plain = PlainLines.make();
    if (plain === null) throw new Error("this host has no WebAssembly with vectors");
    const bytes = new TextEncoder().encode(text);
    const writer = new BatchWriter(new ReferenceBatch(), (batch) => batch);
    plain.begin(bytes, 0, bytes.length);
    const stoppedAt = plain.parse(0, writer);
    const { kinds, addresses } = writer.batch;
    const references = Array.from({ length: writer.length }, (_, i) => [kinds[i], addresses[i]]);
    return { stoppedAt, lines: plain.lines, references };
  };
  /** Behind these the end is not near. */
  const behind = "==1== a message of valgrind\n".repeat(2);

  it.each([
    ["I  04025000,3\n", [[2, 0x4025000]]],
    [" L 1ffeffe7e8,8\n", [[0, 0x1ffeffe7e8]]],
    [" S 7fffffffffff,1\n", [[1, 0x7fffffffffff]]],
    [" S 1234abcd,64\n", [[1, 0x1234abcd]]],
    [" L ABCDEF01,32\n", [[0, 0xabcdef01]]],
    [" L a,1\n", [[0, 10]]],
    [
      " M 0004000,4\n",
      [
        [0, 0x4000],
        [1, 0x4000],
      ],
    ],
  ])("are parsed by the module: %j", (text, references) => {
    expect(parse(text + behind)).toEqual({ stoppedAt: text.length, lines: 1, references });
  });

  it.each([
    "I 04025000,3\n",
    " X 04025000,3\n",
    " L ,3\n",
    " L 0402500g,3\n",
    " L 0402`000,3\n",
    " L 0402:000,3\n",
    " L 0402@000,3\n",
    " L 04025000,0\n",
    " L 04025000,\n",
    " L 04025000,4:\n",
    " L 04025000,100\n",
    " L 04025000,8\r\n",
    " L 04025ffc,8\n",
    " L 04025fc1,64\n",
    " L 800000000000,8\n",
    " L 0000004025000,8\n",
    " L  04025000,8\n",
    "==1== 04025000,8\n",
  ])("are no others: %j", (text) => {
    expect(parse(text + behind)).toEqual({ stoppedAt: 0, lines: 0, references: [] });
  });
});
