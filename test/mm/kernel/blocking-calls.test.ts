/**
 * That no call is thrown away which may wait, or which returns a flush that is owed: the result must be waited for, returned, or
 * handed on (`mm/kernel/blocking.ts`, `mm/flush/owed-flush.ts`).
 * The type checker accepts such a call as a statement; this looks at the type of every statement that is only an expression.
 */
import { resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../../..");
const FOLDERS = /\/(?:arch|mm|src|bench|test|examples)\//;

const isOfWaitingCall = (type: ts.Type): boolean =>
  type.isUnion() ? type.types.some(isOfWaitingCall) : /^(?:Ready|Waiting|Generator)$/.test(type.symbol?.name ?? "");

const isOwedFlush = (type: ts.Type): boolean => type.aliasSymbol?.name === "OwedFlush";

/** Where results that must be used are thrown away: `file:line: statement`. */
function thrownAway(program: ts.Program): string[] {
  const checker = program.getTypeChecker();
  const found: string[] = [];
  const look = (file: ts.SourceFile, node: ts.Node): void => {
    if ((ts.isExpressionStatement(node) || ts.isVoidExpression(node)) && mayBeThrownAway(node.expression)) {
      const type = checker.getTypeAtLocation(node.expression);
      if (isOfWaitingCall(type) || isOwedFlush(type)) {
        const { line } = file.getLineAndCharacterOfPosition(node.getStart());
        found.push(`${file.fileName}:${line + 1}: ${node.getText()}`);
      }
    }
    // An awaited value must be taken at once: all share one iterator.
    if (ts.isCallExpression(node) && node.expression.getText() === "wait" && !isTakenAtOnce(node)) {
      found.push(`${file.fileName}: ${node.getText()}`);
    }
    ts.forEachChild(node, (child) => look(file, child));
  };
  for (const file of program.getSourceFiles()) if (!file.isDeclarationFile) look(file, file);
  return found;
}

/** Calls, and what their results are computed from; not assertions, which throw nothing away and are most statements of tests. */
const mayBeThrownAway = (node: ts.Expression): boolean => !ts.isBinaryExpression(node) && !isAssertion(node);
const isAssertion = (node: ts.Expression): boolean => /^expect\b/.test(node.getText());

const isTakenAtOnce = ({ parent }: ts.Node): boolean =>
  ts.isYieldExpression(parent) && parent.asteriskToken !== undefined;

function programOf(files: readonly string[]): ts.Program {
  const config = ts.readConfigFile(resolve(ROOT, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
  return ts.createProgram([...files], options);
}

/** A program of one file that is not on disk. */
function programWith(text: string): ts.Program {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(resolve(ROOT, "tsconfig.json"), ts.sys.readFile).config,
    ts.sys,
    ROOT,
  );
  const name = resolve(ROOT, "mm/kernel/not-on-disk.ts");
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (file) => file === name || fileExists.call(host, file);
  host.readFile = (file) => (file === name ? text : readFile.call(host, file));
  host.getSourceFile = (file, ...rest) =>
    file === name
      ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2023, true)
      : getSourceFile.call(host, file, ...rest);
  return ts.createProgram([name], options, host);
}

describe("calls that may wait, and flushes that are owed,", () => {
  it("are never thrown away", { timeout: 120_000 }, () => {
    const config = ts.readConfigFile(resolve(ROOT, "tsconfig.json"), ts.sys.readFile);
    const { fileNames } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
    const files = fileNames.filter((file) => FOLDERS.test(file));
    expect(files.length).toBeGreaterThan(200);
    expect(thrownAway(programOf(files))).toEqual([]);
  });

  it("are found when they are", { timeout: 120_000 }, () => {
    const text = `
      import { type Blocking, DONE, ready, wait } from "./blocking.ts";
      import type { PageTables } from "../page-tables/page-tables.ts";
      import type { KernelCode } from "../../arch/time/event-loop.ts";
      const free = (): Blocking<void> => DONE;
      const alloc = (): Blocking<number> => ready(1);
      function* code(): KernelCode<void> {
        free();
        void alloc();
        const kept = wait(alloc());
        code();
        yield* wait(free());
        yield* kept;
      }
      export function unmap(tables: PageTables): void {
        tables.vunmapRangeNoflush(0, 4096);
        tables.owed.waive(tables.vunmapRangeNoflush(0, 4096));
        void tables.owed.owe(0, 4096);
      }
    `;
    const found = thrownAway(programWith(text)).filter((line) => line.includes("not-on-disk"));
    expect(found.map((line) => line.replace(/^.*: /, ""))).toEqual([
      "free();",
      "void alloc()",
      "wait(alloc())",
      "code();",
      "tables.vunmapRangeNoflush(0, 4096);",
      "void tables.owed.owe(0, 4096)",
    ]);
  });
});
