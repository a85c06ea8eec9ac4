/**
 * Which size of page memory is given in, by address: `4K`, `2M` or `1G` everywhere; a size in a range (`2M@0x40000000-0x80000000`), for
 * each aligned page of it that lies wholly inside; `thp=0.5`, transparent huge pages for that fraction of all aligned 2 MiB. Rules
 * are joined by commas, such as `4K,1G@0x7f0000000000-0x7f8000000000`.
 */

import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import { ValueError } from "../input/errors.ts";
import { sizeBytes } from "../input/values.ts";

/** Levels of the entries that map pages: of 4 KiB, 2 MiB, 1 GiB. */
const LEVELS = [1, 2, 3];
const HUGE_LEVEL = 2;
const ADDRESS_END = 2 ** 48;
const EXPECTED = "4K, 2M, 1G, SIZE@START-END or thp=FRACTION, joined by commas";

interface RangeRule {
  readonly start: number;
  readonly end: number;
  readonly level: number;
}

/** The rules of one replay. */
export class PageRules {
  /** As they were written. */
  readonly text: string;
  private readonly level: number;
  private readonly ranges: readonly RangeRule[];
  /** The fraction of aligned 2 MiB that are huge where pages of 4 KiB are the rule. */
  private readonly hugeFraction: number;

  /** @throws ValueError for what is no such rule, and for ranges that overlap */
  constructor(text: string) {
    let level = 0;
    let hugeFraction = -1;
    const ranges: RangeRule[] = [];
    for (const word of text.split(",")) {
      const range = /^([^@]+)@(0x[0-9a-f]+|\d+)-(0x[0-9a-f]+|\d+)$/i.exec(word);
      const thp = /^thp=(\d+(?:\.\d+)?)$/.exec(word);
      const size = levelOfSize(range === null ? word : range[1]);
      if (range !== null && size > 0) {
        ranges.push({ level: size, start: Number(range[2]), end: Number(range[3]) });
      } else if (thp !== null && Number(thp[1]) <= 1 && hugeFraction < 0) {
        hugeFraction = Number(thp[1]);
      } else if (range === null && size > 0 && level === 0) {
        level = size;
      } else {
        throw new ValueError("", text, EXPECTED);
      }
    }
    ranges.sort((a, b) => a.start - b.start);
    const isWrong = ranges.some(
      ({ start, end }, i) => start >= end || end > ADDRESS_END || start < (ranges[i - 1]?.end ?? 0),
    );
    if (isWrong) throw new ValueError("", text, "ranges with START below END that do not overlap");
    if (hugeFraction >= 0 && level > 1) throw new ValueError("", text, "thp=FRACTION with pages of 4K");
    this.text = text;
    this.level = level === 0 ? 1 : level;
    this.ranges = ranges;
    this.hugeFraction = Math.max(0, hugeFraction);
  }

  /** Level of the entry that maps the page of `la` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB). */
  levelOf(la: number): number {
    for (const { start, end, level } of this.ranges) {
      if (la < start || la >= end) continue;
      const first = pageStart(la, level);
      return first >= start && first + LEVEL_BYTES[level] <= end ? level : 1;
    }
    for (let { level } = this; level >= HUGE_LEVEL; level--) if (this.isFree(la, level)) return level;
    return this.hugeFraction > 0 && isChosen(la, this.hugeFraction) && this.isFree(la, HUGE_LEVEL) ? HUGE_LEVEL : 1;
  }

  /** Whether no range reaches into the page of `level` around `la`. */
  private isFree(la: number, level: number): boolean {
    const first = pageStart(la, level);
    return this.ranges.every(({ start, end }) => end <= first || start >= first + LEVEL_BYTES[level]);
  }
}

/** Reads rules for the command line. @throws ValueError for what are none */
export function parsePageRules(text: string): string {
  return new PageRules(text).text;
}

/** Says the rules: `4 KiB pages`, or as they are written. */
export function describePages(text: string): string {
  const names: Readonly<Record<string, string>> = { "4K": "4 KiB", "2M": "2 MiB", "1G": "1 GiB" };
  return `${names[text] ?? text} pages`;
}

/** Level of the entries that map pages of a size, however it is written; 0 for what is no size of a page. */
function levelOfSize(text: string): number {
  return LEVELS.find((level) => LEVEL_BYTES[level] === sizeBytes(text)) ?? 0;
}

function pageStart(la: number, level: number): number {
  return Math.floor(la / LEVEL_BYTES[level]) * LEVEL_BYTES[level];
}

/** Whether the 2 MiB around `la` are among the fraction that is chosen: by a hash of their number, the same in every run. */
function isChosen(la: number, fraction: number): boolean {
  const number = Math.floor(la / LEVEL_BYTES[HUGE_LEVEL]);
  let hash = Math.imul((number | 0) ^ Math.floor(number / 2 ** 32), 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32 < fraction;
}
