/** What is said of one thing: `1 event`, and not `1 events`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { counted } from "../../../src/report/counted.ts";
import { ROOT, sourcesIn } from "../../source-files.ts";

/** Rooms that write summaries. */
const ROOMS = /^src\/(commands|experiments|explore(?!\/tests)|inspect|recording|references|report|runs|sweep|traces)\//;
/** What they count. */
const NOUNS = new Set(
  (
    "accesses addresses areas blocks calls choices CPUs differences entries errors events files flushes frames holes instructions " +
    "interrupts lines loads misses objects operations pages points preemptions processes purges records references rows runs schedules " +
    "settings slabs states steps stores tables tasks tests threads times vCPUs walks writes"
  ).split(" "),
);
/** Numbers that are never 1, or are no numbers of things: what is put into the text. */
const NEVER_ONE = [
  // Limits.
  /_MAX$/,
  // `dTLB-load misses`, `4 KiB pages`: a name.
  /^name$/,
  /^names\[text\] \?\? text$/,
  /^pageSize$/,
  /^row\.page$/,
  // Constants of experiments.
  /^(SMALL_TLB_ENTRIES|COUNTED_PURGES|WARM_UP_PURGES)$/,
  // How many times as much: a factor.
  /^(ratio|row\.timesQuicker|times\.toFixed\(1\)|grouped\(Math\.round\(eager \/ lazy\)\))$/,
];
function span(file: string, value: string, noun: string): string {
  return `${file}: \${${value}} ${noun}`;
}
/** The same, by file: numbers above the most that there may be, and one that is not said of 1 ("once"). */
const NEVER_ONE_IN = [
  span("src/commands/run.ts", "cpus", "CPUs"),
  span("src/references/drmemtrace-records.ts", "count", "instructions"),
  span("src/runs/run-report-text.ts", "grouped(count)", "times"),
  span("src/sweep/spec.ts", "points", "points"),
  span("src/traces/record-notes.ts", "cpus", "CPUs"),
];

/** An ending that somebody writes by hand where the number is not 1: `${n} page${n === 1 ? "" : "s"}`, and the noun itself. */
const BY_HAND = /=== 1 \? ("" : "e?s"|"(\w+)" : "\2e?s")/;

/** Where it is said of things whose number stands elsewhere. */
const BY_HAND_IN = ["src/experiments/render/plot-html.ts", "src/references/reference-text.ts"];

/** Numbers with a noun behind them that stays as it is where the number is 1, as `${count} events`. */
function uncounted(text: string): string[] {
  const found: string[] = [];
  const source = ts.createSourceFile("source.ts", text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node): void => {
    if (ts.isTemplateSpan(node)) {
      const noun = /^ ([A-Za-z]+)/.exec(node.literal.text)?.[1] ?? "";
      const value = node.expression.getText();
      if (NOUNS.has(noun) && !NEVER_ONE.some((never) => never.test(value))) found.push(`\${${value}} ${noun}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe("numbers of things", () => {
  it("have the noun that belongs to them", () => {
    expect([0, 1, 2].map((count) => counted(count, "call"))).toEqual(["0 calls", "1 call", "2 calls"]);
    expect(counted(1, "address", "addresses")).toBe("1 address");
    expect(counted(1234, "page", undefined, (count) => count.toLocaleString("en-US"))).toBe("1,234 pages");
  });

  it("are written by what knows that, in all summaries", () => {
    const files = sourcesIn("src").filter((file) => ROOMS.test(file));
    expect(files.length).toBeGreaterThan(100);
    const found = files.flatMap((file) =>
      uncounted(readFileSync(join(ROOT, file), "utf8")).map((each) => `${file}: ${each}`),
    );
    expect(found.filter((each) => !NEVER_ONE_IN.includes(each))).toEqual([]);
  });

  it("have no ending that is written by hand", () => {
    const files = sourcesIn("src").filter((file) => ROOMS.test(file) && file !== "src/report/counted.ts");
    const found = files.filter((file) => BY_HAND.test(readFileSync(join(ROOT, file), "utf8")));
    expect(found).toEqual(BY_HAND_IN);
    expect(BY_HAND.test('n === 1 ? "" : "s"')).toBe(true);
    expect(BY_HAND.test('n === 1 ? "line" : "lines"')).toBe(true);
  });

  it("are found where they are not", () => {
    const span = (value: string) => `\${${value}}`;
    const source = `const a = \`${span("calls")} calls, ${span("CALLS_MAX")} calls, ${span("one")} call\`;`;
    expect(uncounted(source)).toEqual([`${span("calls")} calls`]);
  });
});
