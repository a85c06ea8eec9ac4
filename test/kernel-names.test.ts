/** `docs/kernel-names.md` is true: each name in it is defined in the file beside it, under Linux's name wherever that exists here. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { parse, ROOT, sourcesIn } from "./source-files.ts";

/** Kernel functions that the table has at least. */
const ROWS_MIN = 200;

interface Row {
  /** The function of Linux. */
  readonly kernel: string;
  /** Ours, one or several: functions, `Class.member`, constants. Empty when it is not here. */
  readonly ours: readonly string[];
  readonly file: string;
  readonly note: string;
}

const ROWS: readonly Row[] = readFileSync(join(ROOT, "docs/kernel-names.md"), "utf8")
  .split("\n")
  .filter((line) => /^\| `/.test(line))
  .map((line) => {
    const [kernel, ours, file, note] = line.split("|").slice(1, 5);
    const names = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((span) => span[1]);
    return { kernel: names(kernel)[0], ours: names(ours), file: names(file)[0] ?? "", note: note.trim() };
  });

/** `free_vmap_area` in this project's spelling; leading underscores stay. */
function camelCase(kernel: string): string {
  return kernel.replace(/([^_])_([a-z0-9])/g, (_, before: string, letter: string) => before + letter.toUpperCase());
}

/** What a file defines: functions, classes, constants, and members as `Class.member`. */
function definitionsOf(file: string): Set<string> {
  const defined = new Set<string>();
  const visit = (node: ts.Node): void => {
    const { name } = node as ts.NamedDeclaration;
    const isDefinition = ts.isClassElement(node) || ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node);
    if ((isDefinition || ts.isVariableDeclaration(node)) && name !== undefined && ts.isIdentifier(name)) {
      const owner = ts.isClassDeclaration(node.parent) ? `${node.parent.name?.text}.` : "";
      defined.add(owner + name.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(parse(file));
  return defined;
}

/** Files by what they define at their top level, or as a member of a class: the name alone. */
function filesByName(): Map<string, string[]> {
  const files = new Map<string, string[]>();
  for (const file of sourcesIn("mm")) {
    for (const name of definitionsOf(file)) {
      const short = name.slice(name.indexOf(".") + 1);
      files.set(short, [...(files.get(short) ?? []), file]);
    }
  }
  return files;
}

describe("docs/kernel-names.md", () => {
  it("has each kernel function once", () => {
    expect(ROWS.length).toBeGreaterThanOrEqual(ROWS_MIN);
    const names = ROWS.map(({ kernel }) => kernel);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
    for (const name of names) expect(name).toMatch(/^[a-z0-9_]+$/);
  });

  it("names what is defined in the file beside it", () => {
    const wrong = ROWS.filter(({ ours, file }) => {
      if (ours.length === 0) return file !== "";
      if (!existsSync(join(ROOT, file))) return true;
      const defined = definitionsOf(file);
      return ours.some((name) => !defined.has(name));
    });
    expect(wrong).toEqual([]);
  });

  it("says where the behaviour is when no function has Linux's name", () => {
    const isOwnName = ({ kernel, ours }: Row): boolean =>
      ours.some((name) => name.slice(name.indexOf(".") + 1) === camelCase(kernel));
    expect(ROWS.filter((row) => !isOwnName(row) && row.note === "")).toEqual([]);
    const files = filesByName();
    // A function with Linux's name is the one that is named.
    expect(ROWS.filter((row) => !isOwnName(row) && files.has(camelCase(row.kernel)))).toEqual([]);
    expect(camelCase("__purge_vmap_area_lazy")).toBe("__purgeVmapAreaLazy");
    expect(camelCase("vmalloc_32_user")).toBe("vmalloc32User");
  });
});
