/** The library in a program that is not Node: bundled, small, and run where there is nothing of Node. */
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { bootKernel } from "../../src/machine/kernel.ts";
import { ROOT } from "../source-files.ts";

/** What a program of `code` becomes, with the modules that it imports; nothing of Node may be among them. */
async function bundle(code: string, platform: "browser" | "node" = "browser"): Promise<string> {
  const { outputFiles, warnings } = await build({
    stdin: { contents: code, resolveDir: ROOT, sourcefile: "program.ts" },
    tsconfig: join(ROOT, "tsconfig.json"),
    bundle: true,
    minify: true,
    format: platform === "node" ? "esm" : "iife",
    globalName: "program",
    platform,
    target: "es2022",
    write: false,
    logLevel: "silent",
  });
  expect(warnings).toEqual([]);
  return outputFiles[0].text;
}

/** What the program exports, run in a context that has the language's own objects and no others. */
function runAlone(code: string): Record<string, unknown> {
  return runInNewContext(`${code}; program`) as Record<string, unknown>;
}

const gzippedKb = (code: string): number => gzipSync(code).length / 1000;

describe("a program that bundles", () => {
  it("mmulab/kernel boots, and has what it does not use left out", async () => {
    const code = await bundle('export { bootKernel } from "mmulab/kernel";');
    const program = runAlone(code) as { readonly bootKernel: typeof bootKernel };
    const kernel = program.bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
    const address = kernel.vmalloc(8192);
    expect(address).toBe(bootKernel({ cpus: 2, memoryBytes: 2 ** 28 }).vmalloc(8192));
    expect(kernel.verify()).toEqual([]);
    // Measured: 182 kB, of which the presets take a tenth; 176 before CPUs of large machines had arrays in common.
    expect(gzippedKb(code)).toBeLessThan(187);
    expect(gzippedKb(await bundle('export * from "mmulab/kernel";'))).toBeGreaterThan(gzippedKb(code) + 10);
  });

  // All but test_vmalloc, whose tests take long.
  it("mmulab/kernel runs the workloads to the same report as here", async () => {
    const program = runAlone(
      await bundle(`
        import { bootKernel, findWorkload, runOnKernel, WORKLOADS } from "mmulab/kernel";
        export const names = WORKLOADS.map(({ name }) => name);
        export function run(name) {
          const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
          return JSON.stringify(runOnKernel(kernel, findWorkload(name), { operations: 60, seed: 7 }));
        }`),
    ) as { readonly names: string[]; readonly run: (name: string) => string };
    const { findWorkload, runOnKernel } = await import("../../src/kernel.ts");
    for (const name of program.names.filter((each) => each !== "test_vmalloc")) {
      const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
      const here = JSON.stringify(runOnKernel(kernel, findWorkload(name), { operations: 60, seed: 7 }));
      expect(program.run(name), name).toBe(here);
    }
  });

  it("mmulab/arch has a machine without the kernel", async () => {
    const code = await bundle('export { Machine } from "mmulab/arch";');
    const { Machine } = runAlone(code) as { readonly Machine: new (config: object) => { readonly cpus: unknown[] } };
    expect(new Machine({ cpus: 3, memoryBytes: 2 ** 24 }).cpus).toHaveLength(3);
    // Measured: 92.2 kB; 85.3 before CPUs of large machines had arrays in common, 75.7 before attributions had fast paths for larger pages and noted uses, two presets more, and siblings that share cores.
    expect(gzippedKb(code)).toBeLessThan(97);
  });

  it("mmulab itself, for Node, finds every module that it names", async () => {
    const code = await bundle('export * from "mmulab";', "node");
    expect(code).toContain("bootKernel");
  });

  it("mmulab itself, for a browser, is refused: mmulab/kernel is for that", async () => {
    await expect(bundle('export * from "mmulab";')).rejects.toThrow(/node:/);
  });
});
