/** Lines of files: any length up to a limit, in linear time; packed data without an end is not read for ever. */
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readLineBatches } from "../../../src/files/text-lines.ts";
import { replayReferences } from "../../../src/references/reference-replay.ts";
import { parseFtraceLine } from "../../../src/traces/ftrace-lines.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

async function linesOf(file: string): Promise<string[]> {
  const all: string[] = [];
  for await (const { firstLine, lines } of readLineBatches(file)) {
    expect(firstLine).toBe(all.length + 1);
    all.push(...lines);
  }
  return all;
}

describe("lines of a file", () => {
  it("are what stands between newlines, however long, and wherever the pieces that are read end", async () => {
    const lines = ["", "é".repeat(300_000), "short", "x".repeat(1_000_000), "", "€".repeat(200_001), "last"];
    for (const end of ["", "\n"]) {
      expect(await linesOf(folder.write("lines.txt", lines.join("\n") + end))).toEqual(lines);
      expect(await linesOf(folder.write("lines.gz", gzipSync(lines.join("\n") + end)))).toEqual(lines);
    }
  });

  it("that are longer than any recording's are refused with their number", async () => {
    const file = folder.write("long.txt", `first\n${"x".repeat(2 ** 25 + 1)}`);
    await expect(linesOf(file)).rejects.toThrow(/long\.txt:2: is longer than 33554432 characters/);
  });
});

describe("packed data that does not end for a long time", () => {
  const zeros = folder.write("zeros.gz", gzipSync(Buffer.alloc(2 ** 28), { level: 1 }));
  const newlines = folder.write("newlines.gz", gzipSync(Buffer.alloc(2 ** 25, "\n"), { level: 1 }));
  const machine = { preset: "skylake", memoryBytes: 2 ** 30 } as const;

  it("is no trace of ftrace", async () => {
    await expect(replayFtrace(zeros, machine)).rejects.toThrow(/zeros\.gz:1: is longer than/);
    await expect(replayFtrace(newlines, machine)).rejects.toThrow(/newlines\.gz:1: no line is ftrace text/);
  });

  it("is no trace of lackey", async () => {
    const options = { format: "lackey", ...machine, pageSize: "4K", windowReferences: 1000 } as const;
    await expect(replayReferences(zeros, options)).rejects.toThrow(/zeros\.gz:1: no line is a reference/);
    await expect(replayReferences(newlines, options)).rejects.toThrow(/newlines\.gz:1: no line is a reference/);
    const late = folder.write("late.gz", gzipSync(Buffer.concat([Buffer.from(" L 1000,8\n"), Buffer.alloc(2 ** 26)])));
    await expect(replayReferences(late, options)).rejects.toThrow(/late\.gz:2: is longer than 33554432 bytes/);
  });
});

describe("a line that looks like ftrace text again and again", () => {
  it("is matched in linear time", () => {
    const before = performance.now();
    for (const text of [" ", "- ", "a-1 ", "1 ", "a-1 [0] ", "(1) ", "a-1 [0] 1.1: "]) {
      expect(parseFtraceLine(`x${text.repeat(200_000)}`)).toMatchObject({ event: "skip" });
    }
    expect(performance.now() - before).toBeLessThan(5000);
  });
});
