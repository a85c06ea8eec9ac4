/** Long texts of lackey that several threads parse, against one that reads them from beginning to end. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LackeyLines } from "../../../src/references/lackey-lines.ts";
import { joinParts, LackeyParts, lackeyParts } from "../../../src/references/lackey-parts.ts";
import { PartClaims } from "../../../src/references/part-claims.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";
import { collector, parsed } from "./trace-encoders.ts";

const folder = temporaryFolder();

/** The references of a file, parsed part by part, and what its lines were. */
function byParts(file: string, partBytes: number, sizeBytes: number) {
  const { writer, seen } = collector();
  const parts = new LackeyParts(file, writer, partBytes);
  const summaries = Array.from({ length: Math.ceil(sizeBytes / partBytes) }, (_, part) => parts.read(part));
  parts.close();
  return { seen, summary: joinParts(summaries) };
}

describe("parts of a lackey text", () => {
  const line = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 2 ** 40 }).map((la) => ` L ${la.toString(16)},8`) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 2 ** 24 }).map((la) => `I  ${la.toString(16)},3\r`) },
    fc.constantFrom("==1== message", "", "odd", " M 1ffe,16", " S zz,1"),
    fc.integer({ min: 20, max: 200 }).map((length) => "long".padEnd(length, ".")),
  );

  it("have each line once, whatever stands where they meet", () => {
    const file = join(folder.path, "parts.trace");
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 90 }),
        fc.boolean(),
        (lines, partBytes, isCut) => {
          const text = lines.join("\n") + (isCut ? "" : "\n");
          const bytes = new TextEncoder().encode(text);
          writeFileSync(file, bytes);
          const { parser, seen } = parsed((writer) => new LackeyLines(writer), bytes);
          const { records, references, odd, firstOdd } = parser;
          expect(byParts(file, partBytes, bytes.length)).toEqual({
            seen,
            summary: { records, references, odd, firstOdd },
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it("are not cut out of what is packed, short, binary or no trace", () => {
    const size = 2 ** 17;
    const text = " L 04000000,8\n".repeat(size / 14 + 1);
    const count = (name: string, bytes: Uint8Array | string) => {
      const file = join(folder.path, name);
      writeFileSync(file, bytes);
      return lackeyParts(file, size);
    };
    expect(count("a.trace", text)).toBe(1);
    expect(count("short.trace", text.slice(0, 1000))).toBe(0);
    expect(count("a.trace.gz", text)).toBe(0);
    expect(count("binary.trace", text.replace(" L", "\0L"))).toBe(0);
    expect(count("prose.txt", "no reference at all\n".repeat(size / 20 + 1))).toBe(0);
    expect(lackeyParts(folder.path, size)).toBe(0);
    expect(lackeyParts(join(folder.path, "missing"), size)).toBe(0);
  });
});

describe("a long text of lackey", () => {
  it("gives the command the same results as through a pipe, where one thread reads it", () => {
    const file = join(folder.path, "long.trace");
    const lines = Array.from({ length: 4096 }, (_, i) => {
      const page = (Math.imul(i, 0x9e3779b1) >>> 20) * 4096 + 0x1000_0000;
      return `I  ${(0x40_0000 + 4 * i).toString(16)},4\n ${"LSM"[i % 3]} ${page.toString(16)},8\n`;
    }).join("");
    const text = `${lines.repeat(Math.ceil(2 ** 25 / lines.length))}odd line\n${lines}`;
    writeFileSync(file, text);
    const piped = spawnSync(process.execPath, [CLI, "replay", "--lackey", "-", "--json"], {
      input: text,
      encoding: "utf8",
    });
    const { trace, ...result } = resultIn(mmulab("replay", "--lackey", file, "--json").stdout);
    expect(trace).toBe(file);
    expect(result).toMatchObject({ oddLines: 1 });
    expect(result).toEqual({ ...resultIn(piped.stdout), trace: undefined });
  }, 30_000);

  it("is refused for the same line where one is too long", () => {
    const file = join(folder.path, "endless.trace");
    writeFileSync(file, " L 04000000,8\n".repeat(100_000) + "x".repeat(2 ** 26));
    const { status, stderr } = mmulab("replay", "--lackey", file);
    expect(status).toBe(2);
    expect(stderr).toContain(":100001: is longer than 33554432 bytes");
  }, 30_000);
});

describe("the parts of a trace that several threads parse", () => {
  it("are begun in order, each by one of them or by the thread that replays", () => {
    const replaying = new PartClaims(5);
    const reading = new PartClaims(5, replaying.memory);
    expect(reading.begin(1)).toBe(0);
    // Too late for what another has begun, too early for what lies behind the next.
    expect([0, 2, 1, 1].map((part) => replaying.beginHere(part))).toEqual([false, false, true, false]);
    expect([reading.begin(0), reading.begin(1), reading.begin(0), reading.begin(1)]).toEqual([2, 3, 4, null]);
    expect([0, 2, 3, 4].map((part) => replaying.readerOf(part))).toEqual([1, 0, 1, 0]);
    expect(replaying.beginHere(4)).toBe(false);
  });

  it("are waited for of the threads that have begun one, of no others", () => {
    const replaying = new PartClaims(3);
    const reading = new PartClaims(3, replaying.memory);
    expect(replaying.beginHere(0)).toBe(true);
    // Threads 0 and 3 come too late for any part, thread 2 has not come at all.
    expect([1, 1, 0, 3].map((reader) => reading.begin(reader))).toEqual([1, 2, null, null]);
    expect([0, 1, 2, 3].map((reader) => replaying.hasBegun(reader))).toEqual([false, true, false, false]);
  });

  it("are waited for of no thread where the one that replays has begun them all", () => {
    const replaying = new PartClaims(2);
    expect([0, 1].map((part) => replaying.beginHere(part))).toEqual([true, true]);
    expect([0, 1].map((reader) => replaying.hasBegun(reader))).toEqual([false, false]);
  });
});
