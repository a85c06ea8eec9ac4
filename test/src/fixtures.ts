/** Recordings for tests: the fixtures, and small ones made on the spot in a temporary folder. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll } from "vitest";

const RECORDINGS = join(import.meta.dirname, "../recordings");

/** Path of a fixture, by the recording's name. */
export function fixture(name: string): string {
  return join(RECORDINGS, `${name}.jsonl.gz`);
}

/** The lines of a fixture. */
export function fixtureLines(name: string): string[] {
  return gunzipSync(readFileSync(fixture(name)))
    .toString("utf8")
    .trimEnd()
    .split("\n");
}

/** A folder that is removed when the test file is done. */
export function temporaryFolder(): { path: string; write(name: string, content: string | Uint8Array): string } {
  const path = mkdtempSync(join(tmpdir(), "mmulab-test-"));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    write(name, content) {
      const file = join(path, name);
      writeFileSync(file, content);
      return file;
    },
  };
}
