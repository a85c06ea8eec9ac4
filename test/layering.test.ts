/** House rules that no type checker sees: the layers, the size of files, what may be imported. */
import { existsSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import {
  functionLengths,
  type Import,
  importCycles,
  importsOf,
  parse,
  ROOT,
  sourcesIn,
  targetOf,
} from "./source-files.ts";

const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

/** What each folder may import of the others. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  arch: ["arch"],
  mm: ["mm", "arch"],
  src: ["src", "mm", "arch"],
  bench: ["bench", "src", "mm", "arch"],
  // As a user does: from the package, not from its files.
  examples: [],
  test: ["test", "bench", "src", "mm", "arch"],
};
const FOLDERS = Object.keys(MAY_IMPORT);

/** The rooms of each folder: a file imports files of its own room and of those before it, types included. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  arch: [
    "wasm",
    "isa",
    "presets",
    "time",
    "tlb",
    "memory",
    "walk",
    "fast-path",
    "cpu",
    "machine.ts",
    "machine-state.ts",
    "index.ts",
  ],
  mm: [
    "lib",
    "versions",
    "kernel",
    "frames",
    "slab",
    "flush",
    "page-tables",
    "kernel-mm.ts",
    "kernel-mm-state.ts",
    "vmalloc/areas",
    "vmalloc",
    "user",
    "percpu",
    "views",
    "snapshot",
    "verify",
    "compatibility.ts",
    "index.ts",
  ],
  src: [
    "input",
    "files",
    "provenance",
    "guests",
    "machine",
    "settings",
    "events",
    "report",
    "recording",
    "workloads/base",
    "workloads/test-vmalloc",
    "workloads",
    "runs",
    "traces",
    "references",
    "recorder",
    "experiments/base",
    "experiments/render",
    "experiments/flush-cost",
    "experiments/flush-ceiling",
    "experiments/lazy-threshold",
    "experiments/kernel-diff",
    "experiments",
    "timeline",
    "explore/base",
    "explore/tests",
    "explore",
    "state",
    "output",
    "inspect",
    "sweep",
    "kernel.ts",
    "view/model/stories",
    "view/model",
    "view/page",
    "view",
    "calibration",
    "probe",
    "templates",
    "help",
    "command-line",
    "commands",
    "index.ts",
    "cli.ts",
  ],
};

/** Where the program, the library, the benchmarks and the worker processes begin: what none of them reaches is dead. */
const ENTRIES = [
  "arch/index.ts",
  "mm/index.ts",
  "src/index.ts",
  "src/kernel.ts",
  "src/cli.ts",
  "src/sweep/worker.ts",
  "src/provenance/write-build.ts",
  "src/commands/write-man-page.ts",
  "src/files/write-command.ts",
  "src/view/page/main.tsx",
  "src/view/page/worker.ts",
  "src/explore/worker.ts",
  "src/references/reader-worker.ts",
  ...sourcesIn("bench"),
];

const SOURCES = FOLDERS.flatMap(sourcesIn);
const TREES = SOURCES.map(parse);
const IMPORTS: readonly Import[] = TREES.flatMap(importsOf);
const inFolders = (...folders: string[]) => IMPORTS.filter(({ file }) => folders.includes(file.split("/")[0]));

/** The folder that a relative import leads into, or null for a package. */
function targetFolder(entry: Import): string | null {
  return targetOf(entry)?.split("/")[0] ?? null;
}

/** The place of a file's room in its folder's order; -1 for a file in no room. The room of the longest name counts. */
function roomOf(file: string): number {
  const [folder] = file.split("/");
  const path = file.slice(folder.length + 1);
  const rooms = ROOMS[folder];
  const fitting = rooms.filter((room) => path === room || path.startsWith(`${room}/`));
  return rooms.indexOf(fitting.sort((a, b) => b.length - a.length)[0]);
}

/** What each file imports, by its path. */
function importGraph(imports: readonly Import[]): Map<string, string[]> {
  const graph = new Map<string, string[]>(SOURCES.map((file) => [file, []]));
  for (const entry of imports) {
    const target = targetOf(entry);
    if (target !== null) graph.get(entry.file)?.push(target);
  }
  return graph;
}

describe("the layers", () => {
  it("are all looked at", () => {
    for (const folder of ["arch", "mm", "src", "test"]) {
      expect(sourcesIn(folder).length, folder).toBeGreaterThan(3);
      expect(inFolders(folder).length, folder).toBeGreaterThan(3);
    }
    expect(IMPORTS).toContainEqual({ file: "test/layering.test.ts", specifier: "node:fs", isTypeOnly: false });
  });

  it("import downwards only: src -> mm -> arch", () => {
    const upwards = IMPORTS.filter((entry) => {
      const folder = targetFolder(entry);
      return folder !== null && !MAY_IMPORT[entry.file.split("/")[0]].includes(folder);
    });
    expect(upwards).toEqual([]);
  });

  it("keep arch and mm free of Node, so that they run in a browser", () => {
    const ofNode = (specifier: string) => specifier.startsWith("node:") || builtinModules.includes(specifier);
    expect(inFolders("arch", "mm").filter(({ specifier }) => ofNode(specifier))).toEqual([]);
    const globals = /\b(?:process|Buffer|__dirname|require)\b\s*[.(]/;
    for (const file of [...sourcesIn("arch"), ...sourcesIn("mm")]) {
      const code = readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      expect(globals.test(code), `${file} uses a global of Node`).toBe(false);
    }
  });

  it("lead from arch and mm to no package, so that a program with them alone is small", () => {
    expect(inFolders("arch", "mm").filter(({ specifier }) => !specifier.startsWith("."))).toEqual([]);
  });

  it("name files that exist, with their extension", () => {
    const wrong = IMPORTS.filter(({ file, specifier }) => {
      if (!specifier.startsWith(".")) return false;
      return !/\.(tsx?|json)$/.test(specifier) || !existsSync(resolve(ROOT, dirname(file), specifier));
    });
    expect(wrong).toEqual([]);
  });

  it("use only packages that package.json names, and only its dependencies in what is shipped", () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const shipped = Object.keys(manifest.dependencies);
    const all = [...shipped, ...Object.keys(manifest.devDependencies)];
    const own = [...all, manifest.name];
    const undeclared = IMPORTS.filter(({ file, specifier }) => {
      if (specifier.startsWith(".") || specifier.startsWith("node:")) return false;
      const parts = specifier.split("/");
      const name = specifier.startsWith("@") ? `${parts[0]}/${parts[1]}` : parts[0];
      if (file.startsWith("examples/")) return !own.includes(name);
      // The page is shipped as a bundle, with the packages that it uses in it.
      const isShipped = /^(arch|mm|src)\//.test(file) && !file.startsWith("src/view/page/");
      return !(isShipped ? shipped : all).includes(name);
    });
    expect(undeclared).toEqual([]);
  });
});

describe("the rooms of a folder", () => {
  it("have a place in the order, each of them with files", () => {
    const files = Object.keys(ROOMS).flatMap(sourcesIn);
    expect(files.filter((file) => roomOf(file) < 0)).toEqual([]);
    for (const [folder, rooms] of Object.entries(ROOMS)) {
      const used = new Set(sourcesIn(folder).map(roomOf));
      expect(rooms.filter((_, i) => !used.has(i))).toEqual([]);
    }
  });

  it("import one way, in that order, types included", () => {
    const backwards = inFolders(...Object.keys(ROOMS)).filter((entry) => {
      const target = targetOf(entry);
      if (target === null || !/\.tsx?$/.test(target) || target.split("/")[0] !== entry.file.split("/")[0]) return false;
      return roomOf(target) > roomOf(entry.file);
    });
    expect(backwards.map(({ file, specifier }) => `${file}: ${specifier}`)).toEqual([]);
  });

  it("never import each other in pairs, nor do folders within them", () => {
    const pairs = new Set<string>();
    for (const entry of inFolders(...Object.keys(ROOMS))) {
      const [from, to] = [dirname(entry.file), dirname(targetOf(entry) ?? entry.file)];
      // The files beside the rooms, such as index.ts, have places of their own in the order.
      if (from !== to && !(from in MAY_IMPORT) && !(to in MAY_IMPORT)) pairs.add(`${from} ${to}`);
    }
    expect(pairs.size).toBeGreaterThan(100);
    expect([...pairs].filter((pair) => pairs.has(pair.split(" ").reverse().join(" ")))).toEqual([]);
  });
});

describe("files", () => {
  it("import each other in no circle, types included", () => {
    expect(importCycles(importGraph(IMPORTS))).toEqual([]);
    const circle = new Map([
      ["a", ["b"]],
      ["b", ["c", "d"]],
      ["c", ["a"]],
      ["d", []],
    ]);
    expect(importCycles(circle)).toEqual([["a", "b", "c"]]);
  });

  it("are all reached from the library, the program or a benchmark", () => {
    const graph = importGraph(IMPORTS);
    const reached = new Set(ENTRIES);
    for (const file of reached) for (const target of graph.get(file) ?? []) reached.add(target);
    expect(SOURCES.filter((file) => /^(arch|mm|src)\//.test(file) && !reached.has(file))).toEqual([]);
  });
});

describe("members of classes", () => {
  it("are all named somewhere else", () => {
    const named = new Set<string>();
    const members: { readonly name: string; readonly file: string }[] = [];
    const visit = (node: ts.Node, file: string): void => {
      if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node) || ts.isStringLiteral(node)) {
        const { parent, text } = node;
        const declares = (ts.isClassElement(parent) || ts.isTypeElement(parent)) && parent.name === node;
        if (!declares) named.add(text);
        else if (ts.isClassElement(parent) && /^(arch|mm|src)\//.test(file)) members.push({ name: text, file });
      }
      ts.forEachChild(node, (child) => visit(child, file));
    };
    for (const tree of TREES) visit(tree, tree.fileName);
    expect(members.length).toBeGreaterThan(1000);
    expect(members.filter(({ name }) => !named.has(name))).toEqual([]);
  });
});

describe("every function", () => {
  it(`fits a screen: at most ${FUNCTION_LINES_MAX} lines`, () => {
    const lengths = TREES.filter(({ fileName }) => !fileName.startsWith("test/")).flatMap(functionLengths);
    expect(lengths.length).toBeGreaterThan(1000);
    expect(lengths.filter(({ lines }) => lines > FUNCTION_LINES_MAX)).toEqual([]);
  });

  it("is measured from its first line to its last", () => {
    const tree = ts.createSourceFile(
      "a.ts",
      "const f = () => {\n\n};\nclass A {\n  g() {\n  }\n}\n",
      ts.ScriptTarget.Latest,
      true,
    );
    expect(functionLengths(tree).map(({ name, lines }) => [name, lines])).toEqual([
      ["f", 3],
      ["g", 2],
    ]);
  });
});

describe("the command line", () => {
  it("is known to its own rooms only: what works on kernels, files and traces throws errors of its own", () => {
    const users = [...new Set(inFolders("src").filter(({ specifier }) => specifier === "commander"))]
      .map(({ file }) => file)
      .filter((file) => !/^src\/(commands|command-line)\/|^src\/cli\.ts$/.test(file));
    expect(users).toEqual([]);
  });
});

describe("entries of page tables", () => {
  it("are taken apart and put together by the cursor alone, and read by the independent checker", () => {
    const users = inFolders("mm", "src").filter(({ file }) =>
      /\bentry(?:Frame|Low|High)\b/.test(readFileSync(join(ROOT, file), "utf8")),
    );
    // Tables of guests and of their hypervisors are none of the emulated kernel's: the cursor knows no guest-physical memory and no EPT.
    const isOther = (file: string) => file.startsWith("mm/verify/") || file.startsWith("src/guests/");
    const files = new Set(users.map(({ file }) => file).filter((file) => !isOther(file)));
    expect([...files]).toEqual(["mm/page-tables/page-table-cursor.ts"]);
  });
});

describe("every file", () => {
  it(`can be read in one sitting: at most ${LINES_MAX} lines`, () => {
    const long = SOURCES.map((file) => [file, readFileSync(join(ROOT, file), "utf8").split("\n").length - 1] as const)
      .filter(([, lines]) => lines > LINES_MAX)
      .map(([file, lines]) => `${file}: ${lines}`);
    expect(long).toEqual([]);
  });

  it("has docstrings that say what a thing is, not that it is the same as another", () => {
    const sources = SOURCES.filter((file) => /^(arch|mm|src|bench)\//.test(file));
    const riddle = /\/\*\*[\s*]*(?:The same|As above|Likewise|Who looks on)\b/;
    expect(sources.filter((file) => riddle.test(readFileSync(join(ROOT, file), "utf8")))).toEqual([]);
    expect(riddle.test("/**\n * The same, but quick.\n */")).toBe(true);
  });

  it("reads the host's clock in three places only, and no unseeded random numbers", () => {
    const forbidden = /\b(?:Date\.now|new Date\(|performance\.now|Math\.random|process\.hrtime)\b/;
    const found = SOURCES.filter((file) => /^(arch|mm|src)\//.test(file)).filter((file) =>
      forbidden.test(readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")),
    );
    expect(found).toEqual(["src/command-line/wall-clock.ts", "src/explore/time-limit.ts", "src/probe/host-clock.ts"]);
  });
});
