/** Binary traces that people bring: told apart from text by their first bytes, packed or not, with the command that makes text. */
import { execFileSync } from "node:child_process";
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

/** How a file was packed, what unpacks it, and a packer: of the system where Node has none. */
const PACKERS = [
  ["gzip", "gzip -dc", gzipSync],
  ["xz", "xz -dc", (bytes: Uint8Array) => execFileSync("xz", ["-c"], { input: bytes })],
  ["zstd", "zstd -dc", zstdOf],
] as const;

/** A zstd frame with one block that is not packed (RFC 8878, 3.1.1). */
function zstdOf(bytes: Uint8Array): Uint8Array {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(bytes.length, 5);
  head.writeUIntLE((bytes.length << 3) | 1, 9, 3);
  return Buffer.concat([head, bytes]);
}

const KINDS = [
  ["trace.dat", TRACE_DAT, "trace-cmd report"],
  ["perf.data", PERF_DATA, "perf script"],
] as const;

describe("binary traces", () => {
  it.each(KINDS)(
    "%s is named with the commands that turn it into text: what is packed has to be unpacked first",
    async (name, bytes, command) => {
      const reason = async (packed: Uint8Array): Promise<string> => {
        const file = join(folder.path, `sent.${name}`);
        writeFileSync(file, packed);
        const read = async (): Promise<void> => {
          for await (const _ of readLineBatches(file)) expect.fail("it has no lines");
        };
        const said: unknown = await read().catch((error) => error);
        return String(said).replaceAll(file, "FILE");
      };
      const last = (file: string) => `\`${command} -i ${file} > trace.txt\``;
      expect(await reason(bytes)).toMatch(`FILE: is a binary ${name}: ${last("FILE")} turns it into text`);
      for (const [packing, unpacking, pack] of PACKERS) {
        const first = `\`${unpacking} FILE > unpacked.${name}\``;
        const expected = `FILE: is a binary ${name} in ${packing}: ${first}, then ${last(`unpacked.${name}`)}, turn it into text`;
        expect(await reason(pack(bytes)), packing).toMatch(expected);
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
      expect(result.stderr).toMatch(
        /^mmulab: [^\n]*is a binary perf\.data in gzip: `gzip -dc [^\n]*perf script[^\n]*\n$/,
      );
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
