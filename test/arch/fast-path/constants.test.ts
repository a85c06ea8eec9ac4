/** Code of the fast path uses constants of its own module, which V8 folds (arch/fast-path/README.md, "Constants"). */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const ROOM = resolve(import.meta.dirname, "../../../arch/fast-path");
const CONSTANT = /^[A-Z][A-Z0-9_]+$/;

/** Constants that functions of a module use although they are imported or exported. */
function unfolded(source: string): string[] {
  const file = ts.createSourceFile("module.ts", source, ts.ScriptTarget.Latest, true);
  const shared = new Set<string>();
  const found: string[] = [];
  for (const statement of file.statements) {
    if (ts.isImportDeclaration(statement)) {
      const names = statement.importClause?.namedBindings;
      if (names !== undefined && ts.isNamedImports(names)) for (const { name } of names.elements) shared.add(name.text);
    }
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (ts.isVariableStatement(statement) && isExported) {
      for (const { name } of statement.declarationList.declarations) if (ts.isIdentifier(name)) shared.add(name.text);
    }
  }
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && CONSTANT.test(node.text) && shared.has(node.text)) found.push(node.text);
    ts.forEachChild(node, visit);
  };
  for (const statement of file.statements) {
    if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) visit(statement);
  }
  return found;
}

test("no function of the room uses a constant that its module imports or exports", () => {
  const files = readdirSync(ROOM).filter((name) => name.endsWith(".ts"));
  expect(files.length).toBeGreaterThan(4);
  for (const name of files) expect(unfolded(readFileSync(join(ROOM, name), "utf8")), name).toEqual([]);
});

test("such a use is found", () => {
  const source =
    'import { A1, B2 } from "./x.ts";\nconst D4 = A1;\nexport const C3 = 3;\nclass X { y() { return D4 + B2 + C3; } }';
  expect(unfolded(source)).toEqual(["B2", "C3"]);
});
