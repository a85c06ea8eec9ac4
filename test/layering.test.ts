/** House rules that no type checker sees: the layers, the size of files, what may be imported. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const LINES_MAX = 400;

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

interface Import {
  /** The importing file, relative to the project. */
  readonly file: string;
  readonly specifier: string;
}

function sourcesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort();
}

function importsOf(file: string): Import[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(ROOT, file), "utf8"));
  return importedFiles.map(({ fileName }) => ({ file, specifier: fileName }));
}

/** The folder that a relative import leads into, or null for a package. */
function targetFolder({ file, specifier }: Import): string | null {
  if (!specifier.startsWith(".")) return null;
  return relative(ROOT, resolve(ROOT, dirname(file), specifier)).split("/")[0];
}

const SOURCES = FOLDERS.flatMap(sourcesIn);
const IMPORTS = SOURCES.flatMap(importsOf);
const inFolders = (...folders: string[]) => IMPORTS.filter(({ file }) => folders.includes(file.split("/")[0]));

describe("the layers", () => {
  it("are all looked at", () => {
    for (const folder of ["arch", "mm", "src", "test"]) {
      expect(sourcesIn(folder).length, folder).toBeGreaterThan(3);
      expect(inFolders(folder).length, folder).toBeGreaterThan(3);
    }
    expect(IMPORTS).toContainEqual({ file: "test/layering.test.ts", specifier: "node:fs" });
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

  it("name files that exist, with their extension", () => {
    const wrong = IMPORTS.filter(({ file, specifier }) => {
      if (!specifier.startsWith(".")) return false;
      return !/\.(ts|json)$/.test(specifier) || !existsSync(resolve(ROOT, dirname(file), specifier));
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
      return !(/^(arch|mm|src)\//.test(file) ? shipped : all).includes(name);
    });
    expect(undeclared).toEqual([]);
  });
});

describe("every file", () => {
  it(`can be read in one sitting: at most ${LINES_MAX} lines`, () => {
    const long = SOURCES.map((file) => [file, readFileSync(join(ROOT, file), "utf8").split("\n").length - 1] as const)
      .filter(([, lines]) => lines > LINES_MAX)
      .map(([file, lines]) => `${file}: ${lines}`);
    expect(long).toEqual([]);
  });

  it("reads neither the host's clock nor unseeded random numbers, but for the benchmarks and `--wall`", () => {
    const forbidden = /\b(?:Date\.now|new Date\(|performance\.now|Math\.random|process\.hrtime)\b/;
    const found = SOURCES.filter((file) => /^(arch|mm|src)\//.test(file)).filter((file) =>
      forbidden.test(readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")),
    );
    expect(found).toEqual(["src/command-line/wall-clock.ts"]);
  });
});
