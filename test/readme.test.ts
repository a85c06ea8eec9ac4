/** What the README shows is what one gets: its commands are run, its programs executed, and their output compared. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { expectShown, type ShownCommand, shownCommands } from "./shown-commands.ts";
import { CLI } from "./src/run-cli.ts";

const ROOT = join(import.meta.dirname, "..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");

/** Fenced blocks of a language ("" for terminal sessions). */
function blocks(language: string): string[] {
  return [...README.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter((each) => each[1] === language)
    .map((each) => each[2]);
}

/** The one program of the README that has `mark` in it. */
function program(mark: string): string {
  const found = blocks("ts").filter((each) => each.includes(mark));
  expect(found, mark).toHaveLength(1);
  return found[0];
}

/** The commands of all terminal sessions, in order. */
const commands = (): ShownCommand[] => shownCommands(blocks("").join("\n"));

/** Commands whose output the paragraph right below speaks of in numbers. */
const SPOKEN_OF: ReadonlySet<string> = new Set([
  "npx mmulab experiment flush-cost --cpus 1,16,128 --pages 1,33,34 --html flush-cost.html",
]);

/** Numbers of the paragraph right below a session that begins with a command: those with thousands or with two decimals. */
function toldBelow(line: string): string[] {
  const [, below = ""] = README.slice(README.indexOf(`\n$ ${line}\n`)).split(/^```\n+/m);
  return below.split("\n\n")[0].match(/\b\d{1,3}(,\d{3})+(\.\d+)?\b|\b\d+\.\d\d+\b/g) ?? [];
}

const folder = mkdtempSync(join(tmpdir(), "mmulab-readme-"));
afterAll(() => rmSync(folder, { recursive: true }));
symlinkSync(join(ROOT, "test"), join(folder, "test"));
writeFileSync(join(folder, "my-workload.ts"), program("WorkloadThread"));
writeFileSync(join(folder, "use-after-free.ts"), program("threads: ["));
writeFileSync(join(folder, "sweep.yaml"), blocks("yaml")[0]);

/** A program of the README as plain JavaScript that imports the built library. */
function run(source: string) {
  const entry = (part: string): string => pathToFileURL(join(ROOT, "dist", part, "index.js")).href;
  const text = source
    .replaceAll('"mmulab/arch"', `"${entry("arch")}"`)
    .replaceAll('"mmulab/mm"', `"${entry("mm")}"`)
    .replaceAll('"mmulab"', `"${entry("src")}"`);
  const file = join(folder, "program.mjs");
  writeFileSync(file, text);
  return spawnSync(process.execPath, [file], { encoding: "utf8" });
}

describe("the README", () => {
  it.each(commands())("shows what $line prints", (command) => {
    const { line } = command;
    expect(line).toMatch(/^npx mmulab /);
    const result = spawnSync(process.execPath, [CLI, ...line.split(" ").slice(2)], { cwd: folder, encoding: "utf8" });
    // What finds something says so by its exit code.
    const finds = command.shown.some((each) => / fails \(/.test(each));
    expect(result).toMatchObject({ status: finds ? 1 : 0, stderr: "" });
    expectShown(result.stdout, command);
    if (!SPOKEN_OF.has(line)) return;
    const printed = result.stdout.split(/\s+/);
    expect(toldBelow(line)).not.toEqual([]);
    for (const number of toldBelow(line)) expect(printed, "what the paragraph below it says").toContain(number);
  });

  it("sets up a CPU, tables and an access that works and one that faults", () => {
    const mmu = program('"mmulab/arch"');
    expect(
      mmu
        .trimEnd()
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("import")),
    ).toHaveLength(5);
    expect(run(mmu)).toMatchObject({ status: 0, stdout: "0\n", stderr: "" });
    const shown = /cpu\.store\(.*?\) throws (PageFault) \{ errorCode: (\d+), linearAddress: (\w+), cpu: (\d+) \}/.exec(
      mmu,
    );
    const faulting = `${mmu}
try { cpu.store(0x5000, 4, 1); } catch ({ name, errorCode, linearAddress, cpu }) {
  console.log(name, errorCode, linearAddress, cpu);
}`;
    const [, name, errorCode, linearAddress, cpu] = shown ?? [];
    expect(run(faulting).stdout).toBe(`0\n${name} ${errorCode} ${Number(linearAddress)} ${cpu}\n`);
  });

  it("boots a kernel, uses stale memory, and flushes", () => {
    const faulting = `${program("bootKernel(")}
try { kernel.machine.cpus[0].load(address, 4); } catch ({ name, errorCode, linearAddress, cpu }) {
  console.log(name, errorCode, linearAddress === address, cpu);
}`;
    const { status, stdout, stderr } = run(faulting);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/my_driver_probe\+0x10\/0x80 pages=3 vmalloc/);
    expect(stdout).toMatch(/12K {5}RW {17}GLB NX pte/);
    expect(stdout).toMatch(/\n42\n\[\]\nPageFault 0 true 0\n$/);
  });
});
