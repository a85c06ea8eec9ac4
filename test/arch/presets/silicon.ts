/** Curves measured on a real core (`test/silicon`), and the same accesses on an emulated one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Machine, type Preset, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW } from "../../../arch/index.ts";

const FOLDER = join(import.meta.dirname, "../../silicon");
/** Nanoseconds of a dependent load that the first level translates, and of one that the second level does. */
export const FIRST_LEVEL_NS = 1.67;
export const SECOND_LEVEL_NS = 4.01;
const LEAF = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY;
const FIRST_DATA_FRAME = 200_000;

/** Loads or fetches of `n` pages that are `stride` pages apart: nanoseconds each. */
export interface Curve {
  readonly stride: number;
  readonly points: readonly { readonly pages: number; readonly ns: number }[];
}

/** Periodic visits to pages of one set. */
export interface Sequence {
  readonly pages: number;
  /** The pages visited in a period, in order. */
  readonly visits: readonly number[];
  readonly leastNs: number;
  readonly medianNs: number;
}

/** Visits to pages of one set of the second level, each after visits that empty the first: `mask M: pages:ns ...` or `stride S: ...`. */
export interface SetCurve {
  readonly field: "mask" | "stride";
  readonly value: number;
  /** Nanoseconds that a visit takes beyond one that the second level translates. */
  readonly points: Curve["points"];
}

/** The lines of a file. */
export const linesOf = (file: string) => readFileSync(join(FOLDER, file), "utf8").trim().split("\n");

/** The curves of a file. */
export function curves(file: string): Curve[] {
  return linesOf(file).map((line) => {
    const [head, rest] = splitOnce(line);
    return { stride: Number(head.replace("stride", "")), points: pointsOf(rest) };
  });
}

/** The curves of a file of visits to single sets. */
export function setCurves(file: string): SetCurve[] {
  return linesOf(file).map((line) => {
    const [head, rest] = splitOnce(line);
    const [field, value] = head.split(" ");
    return { field: field === "mask" ? "mask" : "stride", value: Number(value), points: pointsOf(rest) };
  });
}

function pointsOf(text: string): Curve["points"] {
  const words = text.trim().split(/\s+/);
  return words.map((word) => word.split(":").map(Number)).map(([pages, ns]) => ({ pages, ns }));
}

function splitOnce(line: string): [string, string] {
  const at = line.indexOf(":");
  return [line.slice(0, at), line.slice(at + 1)];
}

/** The sequences of a file. */
export function sequences(file: string): Sequence[] {
  return linesOf(file).map((line) => {
    const [head, rest] = splitOnce(line);
    const [visits, times] = rest.split("|").map((part) => part.trim().split(" ").map(Number));
    return { pages: Number.parseInt(head, 10), visits, leastNs: times[0], medianNs: times[1] };
  });
}

/** A CPU of a preset whose page tables map `pages` pages that are `stride` pages apart, with A and D set. */
export function cpuWith(preset: string | Preset, pages: number, stride: number) {
  const machine = new Machine({ cpus: 1, memoryBytes: 2 ** 34, preset });
  const { memory } = machine;
  const tables = new Map<string, number>();
  const tableIn = (parent: number, level: number, vpn: number): number => {
    const prefix = Math.floor(vpn / 512 ** level);
    const name = `${level}/${prefix}`;
    let frame = tables.get(name);
    if (frame === undefined) {
      frame = tables.size + 2;
      tables.set(name, frame);
      memory.writeWord(parent, 2 * (prefix % 512), (frame << 12) | LEAF);
    }
    return frame;
  };
  for (let i = 0; i < pages; i++) {
    const vpn = i * stride;
    const table = tableIn(tableIn(tableIn(1, 3, vpn), 2, vpn), 1, vpn);
    memory.writeWord(table, 2 * (vpn % 512), ((FIRST_DATA_FRAME + i) << 12) | LEAF);
  }
  machine.cpus[0].writeCr3(1 << 12);
  return machine.cpus[0];
}

/** A visit of a page of one set of the second level: the way that has it, or that it came into. */
export interface WayVisit {
  readonly way: number;
  readonly isFill: boolean;
}

/** The runs of a file of evictions. */
export function evictionRuns(file: string): WayVisit[][] {
  const runs = linesOf(file).filter((line) => !line.startsWith("#"));
  return runs.map((line) =>
    [...line].map((letter) => ({ way: Number.parseInt(letter, 36) - 10, isFill: letter < "a" })),
  );
}
