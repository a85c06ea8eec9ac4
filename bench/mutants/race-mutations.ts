/**
 * Makes bugs of concurrency of a source file by rule: unlocks that moved, locks taken too late, checks that were dropped, flushes and
 * wake-ups left out, what is read or written on the other side of a lock or a flush. Statements that only count, cost or observe are left alone.
 */
import * as ts from "typescript";

/** A change of one place of a file. */
export interface RaceMutation {
  readonly file: string;
  /** Of the changed place, from 1. */
  readonly line: number;
  /** What was done to it. */
  readonly kind: string;
  /** Where the statement that is changed begins: what has to be reached for the change to matter. */
  readonly site: number;
  readonly start: number;
  readonly end: number;
  readonly replacement: string;
}

/** Statements that decide nothing: they cost time, count, observe or check. */
const OBSERVES =
  /kmemCacheAlloc|setObject|acknowledgesEarly|bugs\.|enterActivity|nowCycles|SinceCycles|interruptsWereOff|[eE]vents\?|\.spend\w*\(|usePath|probes\?|lockdep|accounts|vmstat|[oO]bserver|\.class\.|\.events\.|[lL]ines?\b.*\.(read|write|change|touch)|\.log\.|\.faults\./;
/** What lets others act by itself; whatever calls a function that does so does it too. */
const LETS_ACT = /\byield\b|\.release\(\)|\.tryTake\(\)|\.point\w*\(|afterLock\(|mustYield\(/;
/** State by which CPUs tell each other what to flush, and whom. */
const SHARED_STATE =
  /[tT]lbGen|cpumask|\.cpus\(|isLazy|isSwitching|loadedAsid|globalAsid|tlbFlushPending|isHeld|VM_UNINITIALIZED|VMAP_/;
const UNLOCKS = /^(if \([^)]*\) )?[\w.?[\]]+\.release\(\);$/;
const LOCKS = /^if \((.* && )?!?[\w.?[\]()]*\.tryTake\(\)\) yield\* /;
const IS_POINT = /^[\w.]+\.point\w*\(/;

function textOf(node: ts.Node): string {
  return node.getText();
}

/** Parses a file of TypeScript. */
export function parsed(file: string, text: string): ts.SourceFile {
  return ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true, ts.ScriptKind.TS);
}

function bodyOf(node: ts.Node): ts.Block | null {
  if (!ts.isFunctionLike(node) || !("body" in node)) return null;
  const { body } = node;
  return body !== undefined && ts.isBlock(body as ts.Node) ? (body as ts.Block) : null;
}

/** Names that are called in a text. */
function calledIn(text: string): readonly string[] {
  return [...text.matchAll(/([\w$]+)\(/g)].map(([, name]) => name);
}

/** Names of the functions in which others may act, directly or in what they call. */
export function namesThatLetAct(files: readonly ts.SourceFile[]): ReadonlySet<string> {
  const bodies = new Map<string, string>();
  const visit = (node: ts.Node): void => {
    const body = bodyOf(node);
    const name = (node as ts.FunctionDeclaration).name?.getText();
    if (body !== null && name !== undefined) bodies.set(name, (bodies.get(name) ?? "") + textOf(body));
    ts.forEachChild(node, visit);
  };
  for (const file of files) visit(file);
  const found = new Set<string>();
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const [name, text] of bodies) {
      if (LETS_ACT.test(text) || calledIn(text).some((called) => found.has(called))) found.add(name);
    }
  }
  return found;
}

/** Lists of statements of functions: each statement is executed after the one before it, if that comes to its end. */
export function statementLists(file: ts.SourceFile): readonly (readonly ts.Statement[])[] {
  return statementListsWhere(file, () => true);
}

/** Those of functions whose own text `isMeant`. */
function statementListsWhere(
  file: ts.SourceFile,
  isMeant: (text: string) => boolean,
): readonly (readonly ts.Statement[])[] {
  const lists: (readonly ts.Statement[])[] = [];
  const visit = (node: ts.Node, isIn: boolean): void => {
    const body = bodyOf(node);
    const isHere = body === null ? isIn : isMeant(textOf(body));
    if (isHere && (ts.isBlock(node) || ts.isCaseClause(node))) lists.push([...node.statements]);
    ts.forEachChild(node, (child) => visit(child, isHere));
  };
  visit(file, false);
  return lists;
}

/** Names that a statement declares for those after it. */
function declaredBy(statement: ts.Statement): readonly string[] {
  if (!ts.isVariableStatement(statement)) return [];
  const names: string[] = [];
  const visit = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) names.push(name.text);
    else for (const element of name.elements) if (ts.isBindingElement(element)) visit(element.name);
  };
  for (const { name } of statement.declarationList.declarations) visit(name);
  return names;
}

/** Whether a statement only names what cannot change: no call, no element, nothing that CPUs share. */
function isLocal(statement: ts.Statement): boolean {
  const text = textOf(statement);
  return (
    ts.isVariableStatement(statement) &&
    (!/[([]/.test(text) || /= [\w.]*currentCpu;$/.test(text)) &&
    !SHARED_STATE.test(text)
  );
}

/** Whether `later` can stand before `earlier`. */
function canSwap(earlier: ts.Statement, later: ts.Statement): boolean {
  const leaves = (each: ts.Statement): boolean =>
    ts.isReturnStatement(each) ||
    ts.isThrowStatement(each) ||
    ts.isBreakStatement(each) ||
    ts.isContinueStatement(each);
  if (leaves(earlier) || leaves(later) || isLocal(earlier) || isLocal(later)) return false;
  const used = new Set(textOf(later).match(/[\w$]+/g));
  return !declaredBy(earlier).some((name) => used.has(name));
}

/** Whether an `if` without `else` only leaves: the function, the loop. */
function isGuard(statement: ts.Statement): boolean {
  if (!ts.isIfStatement(statement) || statement.elseStatement !== undefined) return false;
  const then = statement.thenStatement;
  const last = ts.isBlock(then) ? then.statements.at(-1) : then;
  return last !== undefined && !ts.isExpressionStatement(last) && /^(return|continue|break|throw)\b/.test(textOf(last));
}

/** Makes all mutations of one file. */
class Mutations {
  readonly found: RaceMutation[] = [];
  private readonly file: ts.SourceFile;
  private readonly letsAct: ReadonlySet<string>;

  constructor(file: ts.SourceFile, letsAct: ReadonlySet<string>) {
    this.file = file;
    this.letsAct = letsAct;
  }

  add(kind: string, site: ts.Node, at: readonly [from: ts.Node, to: ts.Node], replacement: string): void {
    const start = at[0].getStart();
    const line = this.file.getLineAndCharacterOfPosition(start).line + 1;
    const { fileName } = this.file;
    this.found.push({ file: fileName, line, kind, site: site.getStart(), start, end: at[1].getEnd(), replacement });
  }

  /** Swaps a statement and the next one that is no point. */
  swap(list: readonly ts.Statement[], i: number): void {
    const earlier = list[i];
    let j = i + 1;
    while (j < list.length && IS_POINT.test(textOf(list[j]))) j++;
    const later = list[j];
    if (later === undefined || IS_POINT.test(textOf(earlier)) || !canSwap(earlier, later)) return;
    const [first, second] = [textOf(earlier), textOf(later)];
    if (OBSERVES.test(first) || OBSERVES.test(second) || !(this.acts(first) || this.acts(second))) return;
    if (LOCKS.test(first) && UNLOCKS.test(second)) return;
    const between = list.slice(i + 1, j).map(textOf);
    let kind = "swapped with the next statement";
    if (UNLOCKS.test(second)) kind = "the unlock below it moved above it";
    else if (LOCKS.test(first)) kind = "the lock is taken one statement later";
    this.add(kind, earlier, [earlier, later], [second, ...between, first].join("\n"));
  }

  statement(statement: ts.Statement): void {
    const text = textOf(statement);
    if (isGuard(statement)) this.add("check dropped", statement, [statement, statement], ";");
    else if (ts.isIfStatement(statement) && statement.elseStatement === undefined && !LOCKS.test(text)) {
      const then = statement.thenStatement;
      if (!OBSERVES.test(textOf(then))) {
        this.add("done without its check", statement, [statement, statement], `{ ${textOf(then)} }`);
        this.add("left out with its check", statement, [statement, statement], ";");
      }
    } else if (ts.isWhileStatement(statement) && /yield/.test(text)) {
      this.add("does not wait", statement, [statement, statement], ";");
    } else if (
      ts.isExpressionStatement(statement) &&
      !OBSERVES.test(text) &&
      !UNLOCKS.test(text) &&
      !IS_POINT.test(text)
    ) {
      this.add("left out", statement, [statement, statement], ";");
    }
  }

  /** Parts of the conditions of a statement, those of blocks in it excepted. */
  conditions(statement: ts.Statement): void {
    const visit = (node: ts.Node): void => {
      if (ts.isBlock(node) || ts.isCaseClause(node)) return;
      if (ts.isBinaryExpression(node)) this.condition(statement, node);
      ts.forEachChild(node, visit);
    };
    visit(statement);
  }

  private condition(statement: ts.Statement, node: ts.BinaryExpression): void {
    const { left, right, operatorToken } = node;
    const { kind } = operatorToken;
    if (kind === ts.SyntaxKind.AmpersandAmpersandToken || kind === ts.SyntaxKind.BarBarToken) {
      if (OBSERVES.test(textOf(node))) return;
      this.add(`only the left of ${textOf(operatorToken)}`, statement, [node, node], `(${textOf(left)})`);
      this.add(`only the right of ${textOf(operatorToken)}`, statement, [node, node], `(${textOf(right)})`);
      return;
    }
    const other: Partial<Record<ts.SyntaxKind, string>> = {
      [ts.SyntaxKind.LessThanToken]: "<=",
      [ts.SyntaxKind.LessThanEqualsToken]: "<",
      [ts.SyntaxKind.GreaterThanToken]: ">=",
      [ts.SyntaxKind.GreaterThanEqualsToken]: ">",
    };
    const text = other[kind];
    if (text === undefined || ts.isForStatement(statement) || ts.isForStatement(node.parent)) return;
    this.add(
      `${text} in place of ${textOf(operatorToken)}`,
      statement,
      [node, node],
      `${textOf(left)} ${text} ${textOf(right)}`,
    );
  }

  private acts(text: string): boolean {
    return LETS_ACT.test(text) || calledIn(text).some((name) => this.letsAct.has(name));
  }
}

/** All mutations of the functions of a file in which others may act, or that tell CPUs what to flush. */
export function raceMutations(file: ts.SourceFile, letsAct: ReadonlySet<string>): readonly RaceMutation[] {
  const mutations = new Mutations(file, letsAct);
  const isMeant = (text: string): boolean => LETS_ACT.test(text) || SHARED_STATE.test(text);
  for (const list of statementListsWhere(file, isMeant)) {
    list.forEach((statement, i) => {
      mutations.swap(list, i);
      mutations.statement(statement);
      mutations.conditions(statement);
    });
  }
  return mutations.found;
}
