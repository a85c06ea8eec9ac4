/** Code asks what a kernel does, never which version it is. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { KERNEL_VERSIONS, VERSION_ENTRIES } from "../../../mm/index.ts";

describe("versions", () => {
  it("are asked for by name nowhere outside of mm/versions", () => {
    const names = KERNEL_VERSIONS.map(({ name }) => name.replace(".", "\\.")).join("|");
    const asks = new RegExp(`[!=]==? ?"(?:${names})"|"(?:${names})" ?[!=]==?|case "(?:${names})"`);
    const files = ["arch", "mm", "src"]
      .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: "utf8" }).map((file) => join(folder, file)))
      .filter((file) => file.endsWith(".ts") && !file.startsWith("mm/versions/"));
    expect(files.length).toBeGreaterThan(300);
    expect(files.filter((file) => asks.test(readFileSync(file, "utf8")))).toEqual([]);
    expect(asks.test('if (version.name === "7.3") {')).toBe(true);
  });

  it("have each entry described, and no other", () => {
    const labels = ["name", "since", "release", "isRecorded", "blocks"];
    for (const version of KERNEL_VERSIONS) {
      const entries = Object.keys(version).filter((key) => !labels.includes(key));
      const ofBlocks = Object.keys(version.blocks).map((key) => `blocks.${key}`);
      expect(Object.keys(VERSION_ENTRIES).sort()).toEqual([...entries, ...ofBlocks].sort());
    }
  });
});
