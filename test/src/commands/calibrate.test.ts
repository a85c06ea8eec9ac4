/** `mmulab calibrate` as a person runs it. What it finds is tested in test/src/calibration; here it infers from recorded curves. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parsePreset } from "../../../arch/index.ts";
import { withoutMadeBy } from "../../../src/provenance/read-made-by.ts";
import { mmulab } from "../run-cli.ts";

const SILICON = join(import.meta.dirname, "../../silicon/dtlb-loads.txt");
const folder = mkdtempSync(join(tmpdir(), "mmulab-calibrate-"));
const file = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

describe("mmulab calibrate --curves", () => {
  const run = mmulab("calibrate", "--curves", SILICON, "--output", file("a.json"), "--html", file("a.html"), "--json");

  it("writes a preset that the machine takes", () => {
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
    const preset = parsePreset(JSON.parse(readFileSync(file("a.json"), "utf8")));
    expect(preset.name).toBe("calibrated");
    expect(JSON.parse(run.stdout)).toMatchObject({
      seed: 1,
      first: { sets: 16, ways: 6 },
      second: { sets: 128, ways: 16, indexHash: "xor" },
      nearest: "sapphire-rapids",
      preset: { name: "calibrated" },
    });
  });

  it("takes everything else over as assumed, whatever is known of the nearest part", () => {
    const certain: string[] = [];
    const look = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return;
      const { basis, source } = value as { basis?: string; source?: string };
      if (basis !== undefined && basis !== "assumed" && !source?.startsWith("mmulab calibrate on ")) certain.push(path);
      for (const [key, inner] of Object.entries(value)) look(inner, `${path}.${key}`);
    };
    const preset = JSON.parse(readFileSync(file("a.json"), "utf8"));
    look(preset, "");
    expect(certain).toEqual([]);
    expect(preset.overlap.walkers.source).toMatch(/^as sapphire-rapids: /);
  });

  it("writes a page with every curve measured and emulated, for light and dark screens", () => {
    const html = readFileSync(file("a.html"), "utf8");
    expect(html.match(/<svg class="wide" role="img" aria-label="Pages \d+ apart\. Shown: ns a load/g)?.length).toBe(8);
    expect(html).toContain("prefers-color-scheme: dark");
    expect(html).toContain("emulated with the preset");
    expect(html).toContain("128 sets of 16 ways");
    expect(html).not.toMatch(/src=|href=/);
  });

  it("gives the same bytes again, but for the words of the command", () => {
    const again = mmulab(
      "calibrate",
      "--curves",
      SILICON,
      "--output",
      file("b.json"),
      "--html",
      file("b.html"),
      "--quiet",
    );
    expect(again.stdout).toBe("");
    expect(readFileSync(file("b.json"), "utf8")).toBe(readFileSync(file("a.json"), "utf8"));
    const [before, after] = ["a.html", "b.html"].map((name) => withoutMadeBy(readFileSync(file(name), "utf8")));
    expect(after).toBe(before);
  });

  it("writes nothing, says why in one line and exits with 2 when the curves show no TLB", () => {
    writeFileSync(
      file("flat.txt"),
      "stride 1: 1:1.7 2:1.7 4:1.7 8:1.7 16:1.7 32:1.7\nstride 16: 1:1.7 2:1.7 4:1.7 8:1.7\n",
    );
    const { status, stderr, stdout } = mmulab("calibrate", "--curves", file("flat.txt"), "--output", file("flat.json"));
    expect(status).toBe(2);
    expect(stderr).toMatch(/^mmulab: cannot calibrate: no curve rises .*\n$/);
    expect(stdout).toBe("");
    expect(existsSync(file("flat.json"))).toBe(false);
  });

  it("refuses files and options that make no sense", () => {
    writeFileSync(file("bad.txt"), "stride 1: 1:1.7\nstrife 2: 1:1.7\n");
    const bad = mmulab("calibrate", "--curves", file("bad.txt"), "--output", file("c.json"));
    expect([bad.status, bad.stderr]).toEqual([
      2,
      `mmulab: ${file("bad.txt")}:2: expected \`stride S: pages:ns pages:ns ...\`\n`,
    ]);
    expect(mmulab("calibrate", "--curves", SILICON, "--quick").stderr).toBe(
      "mmulab: --quick: --curves measures nothing\n",
    );
    expect(mmulab("calibrate", "--curves", SILICON, "--output", SILICON).status).toBe(2);
    expect(mmulab("calibrate", "--ghz", "fast").stderr).toMatch(/Expected a number of GHz from 0.1 to 20/);
  });
});
