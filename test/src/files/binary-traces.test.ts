/** Binary traces that people bring: told apart from text by their first bytes, packed or not, with the command that makes text. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { readByteChunks } from "../../../src/files/byte-chunks.ts";
import { readLineBatches } from "../../../src/files/text-lines.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const TRACE_DAT = Buffer.concat([Buffer.from([0x17, 0x08, 0x44]), Buffer.from("tracing6\0\0\x08"), Buffer.alloc(500)]);
const PERF_DATA = Buffer.concat([Buffer.from("PERFILE2"), Buffer.alloc(500)]);

const KINDS = [
  ["trace.dat", TRACE_DAT, "trace-cmd report"],
  ["perf.data", PERF_DATA, "perf script"],
] as const;

describe("binary traces", () => {
  it.each(KINDS)(
    "%s is named with the command that turns it into text, packed or not",
    async (name, bytes, command) => {
      for (const content of [bytes, gzipSync(bytes)]) {
        const file = join(folder.path, `${name}.${content.length}`);
        writeFileSync(file, content);
        const read = async (): Promise<void> => {
          for await (const _ of readLineBatches(file)) expect.fail("it has no lines");
        };
        await expect(read()).rejects.toThrow(
          `${file}: is a binary ${name}: \`${command} -i ${file} > trace.txt\` turns it`,
        );
      }
    },
  );

  it("end replay and inspect with one line and exit code 2", () => {
    const file = join(folder.path, "sent.data");
    writeFileSync(file, gzipSync(PERF_DATA));
    for (const args of [
      ["replay", "--ftrace", file],
      ["replay", file],
      ["inspect", file],
    ]) {
      const result = mmulab(...args);
      expect(result).toMatchObject({ status: 2, stdout: "" });
      expect(result.stderr).toMatch(/^mmulab: [^\n]*is a binary perf\.data: [^\n]*perf script[^\n]*\n$/);
    }
  });

  it("do not disturb other files: short ones, and those that begin alike", async () => {
    for (const text of ["x", "PERFI", "PERFILE1 and more", "\x17\x08Dtra"]) {
      const file = folder.write("other.txt", text);
      const pieces: Uint8Array[] = [];
      for await (const piece of readByteChunks(file)) pieces.push(piece);
      expect(Buffer.concat(pieces).toString()).toBe(text);
    }
  });
});
