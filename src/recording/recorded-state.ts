/** The state lines of a recording (`init` and `final`), collected into a snapshot and the kernel's own text views. */
import type { ZodError } from "zod";
import type {
  BusyAreaRecord,
  FreeAreaRecord,
  FreeVmapBlockRecord,
  LazyAreaRecord,
  PooledAreaRecord,
  VmallocSnapshot,
  VmapBlockRecord,
} from "../../mm/snapshot/vmalloc-snapshot.ts";
import {
  formatPageTableRun,
  isKernelLogLine,
  parseAddressMarker,
  parsePageTableRun,
} from "../../mm/views/page-table-run.ts";
import { meminfoLine } from "../../mm/views/vmallocinfo.ts";
import { formatVmallocinfoLine, parseVmallocinfoLine } from "../../mm/views/vmallocinfo-line.ts";
import { metaSchema, schemaProblem, stateSchemas, textSchema } from "./line-schemas.ts";
import { StateLines } from "./state-lines.ts";

/** vmalloc's state at one moment: its records, and what the kernel's own files said of it. */
export interface RecordedState {
  readonly snapshot: VmallocSnapshot;
  /** `/proc/vmallocinfo`. */
  readonly vmallocinfo: readonly string[];
  /** `/sys/kernel/debug/page_tables/kernel`, the vmalloc range. */
  readonly pageTables: readonly string[];
  /** Lines of `/proc/meminfo`. */
  readonly meminfo: readonly string[];
}

/** Whether state lines are those of the start or of the end. */
export type StatePhase = "init" | "final";

type Line = Record<string, unknown>;

const TEXT_KEYS = ["vmallocinfo", "ptdump", "meminfo", "vmstat"] as const;
/** Lines of `/proc/meminfo` that tell of vmalloc. */
const MEMINFO_NAMES = ["VmallocTotal", "VmallocUsed", "VmallocChunk"];
const REQUIRED_TEXT = ["vmallocinfo", "ptdump", "meminfo"] as const;

/** Collects the lines of one state. */
export class StateCollector {
  private lazyNr: number | null = null;
  private readonly free: FreeAreaRecord[] = [];
  private readonly busy: BusyAreaRecord[] = [];
  private readonly lazy: LazyAreaRecord[] = [];
  private readonly pool: PooledAreaRecord[] = [];
  private readonly blocks: VmapBlockRecord[] = [];
  private readonly freeBlocks: FreeVmapBlockRecord[] = [];
  private readonly text = new Map<(typeof TEXT_KEYS)[number], string[]>();
  /** Where each part stands. */
  readonly lines = new StateLines();
  private line = 0;

  /** Takes line number `lineNumber`; what is wrong with it, or null. */
  add(phase: StatePhase, line: Line, lineNumber: number): string | null {
    this.line = lineNumber;
    if (phase in line) return this.addRecord(phase, line);
    for (const [name, text] of Object.entries(line)) {
      // The counters of the start stand beside those of the end.
      const isEarlier = phase === "final" && name === "init_vmstat";
      const key = TEXT_KEYS.find((each) => name === `${phase}_${each}` || (isEarlier && each === "vmstat"));
      if (key === undefined) return `a line with "${name}" is no part of the ${phase} state`;
      const problem = this.addText(name, key, text);
      if (problem !== null) return problem;
    }
    return Object.keys(line).length === 0 ? "an empty line" : null;
  }

  /** What a complete state would still need, or null. */
  missing(phase: StatePhase): string | null {
    if (this.free.length === 0) return `any {"${phase}":"free"} line`;
    if (phase === "final" && this.lazyNr === null) return '{"final":"meta"}';
    for (const key of REQUIRED_TEXT) if (!this.text.has(key)) return `"${phase}_${key}"`;
    for (const name of MEMINFO_NAMES) {
      const count = this.text.get("meminfo")?.filter((line) => line.startsWith(`${name}:`)).length;
      if (count !== 1) return `one line of ${name} in "${phase}_meminfo"`;
    }
    return null;
  }

  /**
   * The state. Lines of the kernel log, which get among what the console prints, are left out of the page-table dump.
   * @param lazyNr lazily freed pages, where no `meta` line has told
   */
  finish(lazyNr = 0): RecordedState {
    return {
      snapshot: {
        free: this.free,
        busy: this.busy,
        lazy: this.lazy,
        pool: this.pool,
        blocks: this.blocks,
        freeBlocks: this.freeBlocks,
        lazyNr: this.lazyNr ?? lazyNr,
      },
      vmallocinfo: this.text.get("vmallocinfo") ?? [],
      pageTables: (this.text.get("ptdump") ?? []).filter((line) => !isKernelLogLine(line)),
      meminfo: this.text.get("meminfo") ?? [],
    };
  }

  private addRecord(phase: StatePhase, line: Line): string | null {
    const kind = line[phase];
    switch (kind) {
      case "free":
        return this.check(stateSchemas.free, phase, line, this.free);
      case "busy":
        return this.check(stateSchemas.busy, phase, line, this.busy);
      case "lazy":
        return this.check(stateSchemas.lazy, phase, line, this.lazy);
      case "pool":
        return this.check(stateSchemas.pool, phase, line, this.pool);
      case "vbfree":
        return this.check(stateSchemas.vbfree, phase, line, this.freeBlocks);
      case "vb":
        return this.check(stateSchemas.vb, phase, line, this.blocks);
      case "meta": {
        if (this.lazyNr !== null) return `a second {"${phase}":"meta"}`;
        const meta: { lazy_nr: number }[] = [];
        const problem = this.check(metaSchema, phase, line, meta);
        if (problem === null) this.lazyNr = meta[0].lazy_nr;
        return problem;
      }
      default:
        return `unknown state line {"${phase}":${JSON.stringify(kind)}}`;
    }
  }

  private check<T extends object>(schema: StateSchema<T>, phase: StatePhase, line: Line, into: T[]): string | null {
    const { [phase]: _kind, ...fields } = line;
    const result = schema.safeParse(fields);
    if (!result.success) return `{"${phase}":"${line[phase]}"}: ${schemaProblem(line, result.error)}`;
    into.push(result.data);
    this.lines.note(result.data, this.line);
    return null;
  }

  private addText(name: string, key: (typeof TEXT_KEYS)[number], text: unknown): string | null {
    const lines = textSchema.safeParse(typeof text === "string" ? [text] : text);
    if (!lines.success) return `"${name}" is neither a line nor a list of lines`;
    for (const line of lines.data) {
      const problem = textProblem(key, line);
      if (problem !== null) return `"${name}": ${problem}`;
      this.lines.noteText(key === "ptdump" ? "page tables" : key, line, this.line);
    }
    const known = this.text.get(key);
    if (known === undefined) this.text.set(key, lines.data);
    else known.push(...lines.data);
    return null;
  }
}

/** What is wrong with a line of one of the kernel's text views, or null: it must be as the kernel would have written it. */
function textProblem(key: (typeof TEXT_KEYS)[number], line: string): string | null {
  try {
    return canonicalText(key, line) === line ? null : `not as the kernel writes it: "${line}"`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What the kernel writes where it means what `line` says. @throws BadTextError when it means nothing */
function canonicalText(key: (typeof TEXT_KEYS)[number], line: string): string {
  switch (key) {
    case "vmallocinfo": {
      const info = parseVmallocinfoLine(line);
      return formatVmallocinfoLine({ ...info, sizeBytes: info.end - info.start });
    }
    case "ptdump":
      if (isKernelLogLine(line) || parseAddressMarker(line) !== null) return line;
      return formatPageTableRun(parsePageTableRun(line));
    case "meminfo": {
      const [, name, kib] = /^(\w+): *(\d+) kB$/.exec(line) ?? [];
      return name === undefined ? "" : meminfoLine(name, Number(kib));
    }
    case "vmstat": {
      const [, name, count] = /^(\w+) (\d+)$/.exec(line) ?? [];
      return `${name} ${Number(count)}`;
    }
  }
}

interface StateSchema<T> {
  safeParse(line: unknown): { success: true; data: T } | { success: false; error: ZodError };
}
