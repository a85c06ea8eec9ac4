/** The package as npm gives it to people: packed from a fresh tree, installed into an empty project, used and type-checked there. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "./source-files.ts";

const folder = mkdtempSync(join(tmpdir(), "mmulab-package-"));
const clone = join(folder, "clone");
const project = join(folder, "project");
const installed = join(project, "node_modules/mmulab");

function run(cwd: string, command: string, ...args: string[]): string {
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 2 ** 26 });
}

/** What the installed command prints. */
function mmulab(...words: string[]): string {
  return run(project, process.execPath, join(installed, "dist/src/cli.js"), ...words);
}

/** A tree as `git clone` and `npm ci` make it, without what has been built. */
function makeClone(): void {
  const tracked = run(ROOT, "git", "ls-files", "-z").split("\0");
  for (const file of tracked.filter(
    (each) => each !== "" && !each.startsWith("test/") && existsSync(join(ROOT, each)),
  )) {
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(ROOT, file), join(clone, file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
}

beforeAll(() => {
  makeClone();
  run(clone, "npm", "pack", "--silent", "--pack-destination", folder);
  const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) as string);
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", version: "1.0.0", type: "module" }));
  run(project, "npm", "install", tarball, "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts");
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true }), 60_000);

describe("the package", () => {
  it("is packed from a fresh tree with what its exports and its command name", () => {
    const { exports, bin, man } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    const files = Object.values(exports as Record<string, { types: string; default: string }>);
    expect(files.length).toBeGreaterThanOrEqual(4);
    for (const file of [bin.mmulab, man, ...files.flatMap((each) => [each.types, each.default])]) {
      expect(existsSync(join(installed, file)), file).toBe(true);
    }
  });

  it("has nothing that publint objects to", async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false });
    expect(messages.filter(({ type }) => type !== "suggestion")).toEqual([]);
  });

  it("has the sources that its source maps speak of", () => {
    const map = JSON.parse(readFileSync(join(installed, "dist/arch/machine.js.map"), "utf8"));
    expect(map.sourcesContent[0]).toBe(readFileSync(join(ROOT, "arch/machine.ts"), "utf8"));
    const bundled = JSON.parse(readFileSync(join(installed, "dist/command/src/sweep/worker.js.map"), "utf8"));
    expect(bundled.sourcesContent).toContain(readFileSync(join(ROOT, "src/sweep/worker.ts"), "utf8"));
  });

  it("has every file that its README and its list of changes lead to", () => {
    for (const page of ["README.md", "CHANGELOG.md"]) {
      const text = readFileSync(join(installed, page), "utf8");
      const targets = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target]) => target);
      const missing = targets.filter((target) => !/^https?:/.test(target) && !existsSync(join(installed, target)));
      expect(missing, page).toEqual([]);
    }
  });

  it("is started in that tree by the README's first command line", () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    const [start, test] = [...readme.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, command]) => command);
    expect([start, test]).toEqual(["npm ci && npm start\n", "npm ci && npm test\n"]);
    // What `npm ci` installs is linked into the tree: nothing is downloaded here.
    expect(run(clone, "npm", "--silent", "start")).toContain("mixed: 4 CPUs (skylake), 4 GiB of memory, seed 1\n");
  }, 300_000);

  it("runs its command", () => {
    const { version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    expect(run(project, "npx", "--no-install", "mmulab", "--version")).toBe(`${version}\n`);
    expect(run(project, "npx", "--no-install", "mmulab", "presets")).toContain("skylake");
  });

  it("starts threads, and loads files of one's own that import it", () => {
    mmulab("new", "policy", "mine.ts");
    const spec = "workload: mixed\ngrid:\n  policy: [./mine.ts]\n  cpus: [1, 2]\n  operations: [20]\n";
    writeFileSync(join(project, "spec.yaml"), spec);
    expect(mmulab("sweep", "spec.yaml", "--dir", "points", "--jobs", "2", "--csv").split("\n")).toHaveLength(4);
    expect(mmulab("explore", "double-vfree", "--schedules", "20", "--jobs", "2")).toContain("in 20 schedules");
  });

  it("can be imported by every name that it exports and by its templates, with types as strict as they come", () => {
    writeFileSync(join(project, "index.ts"), PROGRAM);
    for (const kind of ["workload", "policy", "experiment"]) mmulab("new", kind, `own-${kind}`);
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(STRICT));
    run(project, process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "-p", ".");
    expect(run(project, process.execPath, "index.js")).toBe("0 true function function\n");
  });
});

/** The README's first lines on the machine, and one name of each of the others. */
const PROGRAM = `import { runWorkload } from "mmulab";
import { Machine, PTE_PRESENT, PTE_RW, PTE_USER } from "mmulab/arch";
import { bootKernel } from "mmulab/kernel";
import { vmalloc } from "mmulab/mm";

const { cpus: [cpu], memory } = new Machine({ cpus: 1, memoryBytes: 2 ** 24, preset: "skylake" });
for (const table of [1, 2, 3]) memory.writeWord(table, 0, ((table + 1) << 12) | PTE_PRESENT | PTE_RW | PTE_USER);
memory.writeWord(4, 2 * 5, (6 << 12) | PTE_PRESENT);
cpu.writeCr3(1 << 12);
const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
console.log(cpu.load(0x5000, 4), kernel.vmalloc(8192) !== 0, typeof vmalloc, typeof runWorkload);
`;

const STRICT = {
  compilerOptions: {
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    module: "NodeNext",
    moduleResolution: "NodeNext",
    target: "ES2023",
    lib: ["ES2023", "DOM"],
    types: [],
  },
  files: ["index.ts", "own-workload.ts", "own-policy.ts", "own-experiment.ts"],
};
