import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LackeyLines } from "../../../src/references/lackey-lines.ts";
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

  it("that never end cost no memory", () => {
    const reader = new LackeyLines(collector().writer);
    const piece = new Uint8Array(100_000).fill(0x41);
    for (let i = 0; i < 100; i++) reader.feed(piece);
    reader.feed(new TextEncoder().encode("\nI  04,3\n"));
    expect(reader).toMatchObject({ records: 2, references: 1 });
  });
});
