/** The documents name what there is: files, scripts, functions. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { ALL_FLUSH_POLICIES } from "../mm/flush/flush-policies.ts";
import { KERNEL_VERSIONS } from "../mm/index.ts";
import { EXPERIMENTS } from "../src/experiments/index.ts";
import { SETTING_COLUMNS } from "../src/sweep/setting-columns.ts";
import { parse, ROOT, sourcesIn } from "./source-files.ts";

const DOCUMENTS = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const textOf = (document: string): string => readFileSync(join(ROOT, document), "utf8");

/** What stands between backticks, blocks of code left out. */
function codeSpans(text: string): string[] {
  return [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/`([^`\n]+)`/g)].map((span) => span[1]);
}

/** Every name that a declaration of `arch`, `mm` or `src` gives: functions, classes, types, constants, members, parameters. */
function declaredNames(): Set<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    const { name } = node as ts.NamedDeclaration;
    if (name !== undefined && (ts.isIdentifier(name) || ts.isPrivateIdentifier(name))) names.add(name.text);
    ts.forEachChild(node, visit);
  };
  for (const file of ["arch", "mm", "src"].flatMap(sourcesIn)) visit(parse(file));
  return names;
}

/** Whether there is such a file or folder; N in its name stands for a number. */
function isThere(path: string): boolean {
  if (existsSync(join(ROOT, path))) return true;
  const pattern = new RegExp(`^${basename(path).replaceAll(".", "\\.").replace(/\bN\b/, "\\d+")}$`);
  const folder = join(ROOT, dirname(path));
  return existsSync(folder) && readdirSync(folder).some((name) => pattern.test(name));
}

describe.each(DOCUMENTS)("%s", (document) => {
  it("names files and folders that exist", () => {
    const paths = codeSpans(textOf(document)).filter((span) =>
      // Files in C are the kernel's.
      /^(?:arch|mm|src|test|bench|docs|examples)\/[\w./-]*(?<!\.[ch])$/.test(span),
    );
    expect(paths.filter((path) => !isThere(path))).toEqual([]);
  });

  it("links to what exists", () => {
    const links = [...textOf(document).matchAll(/\]\(([^)\s]+)\)/g)].map((link) => link[1].replace(/#.*$/, ""));
    const missing = links.filter(
      (link) => link !== "" && !link.startsWith("https:") && !existsSync(join(ROOT, dirname(document), link)),
    );
    expect(missing).toEqual([]);
  });

  it("names npm scripts that package.json has", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const named = [...textOf(document).matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map((match) => match[1]);
    expect(named.filter((script) => !(script in scripts))).toEqual([]);
  });
});

describe("what --kernel takes", () => {
  it.each(["README.md", "docs/flush-cost.md"])("is in %s, every version", (document) => {
    const spans = codeSpans(textOf(document)).flatMap((span) => span.replace("--kernel ", "").split("|"));
    expect(KERNEL_VERSIONS.map(({ name }) => name).filter((name) => !spans.includes(name))).toEqual([]);
  });
});

describe("docs/flush-cost.md", () => {
  /** The first two cells of each row of its tables; a stroke within a cell is escaped. */
  const rows = textOf("docs/flush-cost.md")
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split(/(?<!\\)\|/).map(codeSpans));

  it("has every setting of a machine, with its column in a sweep", () => {
    const missing = Object.entries(SETTING_COLUMNS).filter(([column, option]) => {
      const row = rows.find((cells) => cells[1].some((span) => span.split(" ")[0] === `--${option}`));
      return row?.[2].includes(column) !== true;
    });
    expect(missing).toEqual([]);
  });

  it("has every experiment and every flush policy", () => {
    const names = [...EXPERIMENTS, ...ALL_FLUSH_POLICIES].map(({ name }) => name);
    expect(names.filter((name) => !rows.some((cells) => cells[1].includes(name)))).toEqual([]);
  });
});

describe("docs/architecture.md", () => {
  it("names functions, classes and fields that exist", () => {
    const declared = declaredNames();
    expect(declared.size).toBeGreaterThan(1000);
    // Ours are camelCase; what has an underscore inside is the kernel's, what has a dash or a space is something else.
    const ours = codeSpans(textOf("docs/architecture.md"))
      .map((span) => span.replace(/\(.*\)$/, ""))
      .filter((span) => /^_{0,3}[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*$/.test(span))
      .filter((span) => !(span.split(".")[0] in globalThis))
      .flatMap((span) => span.split("."))
      .filter((name) => /[a-z]/.test(name) && /[A-Z]/.test(name));
    expect(ours.length).toBeGreaterThan(30);
    expect(ours.filter((name) => !declared.has(name))).toEqual([]);
  });
});
