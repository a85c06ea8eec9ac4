/** Where in a recording each part of a state stands, so that a contradiction can be shown by its line. */
import type { VmallocSnapshot } from "../../mm/snapshot/vmalloc-snapshot.ts";
import { SNAPSHOT_PARTS, snapshotLines } from "./snapshot-text.ts";

/** Line numbers of a state's records and texts. */
export class StateLines {
  /** The line at which the state ends. */
  end = 0;
  private readonly ofRecords = new Map<object, number>();
  private readonly ofTexts = new Map<string, number>();

  /** Notes the line that a record of the state stands in. */
  note(record: object, line: number): void {
    this.ofRecords.set(record, line);
  }

  /** Notes the line of a text of one part of the state. */
  noteText(part: string, text: string, line: number): void {
    this.ofTexts.set(`${part}\n${text}`, line);
  }

  /** The line of a record, or the state's end for one that is not known. */
  ofRecord(record: object | null): number {
    return (record === null ? undefined : this.ofRecords.get(record)) ?? this.end;
  }

  /** The line of a text (`page tables`, `vmallocinfo`, `meminfo`), or the state's end for one that is not known. */
  ofText(part: string, text: string | undefined): number {
    return this.ofTexts.get(`${part}\n${text}`) ?? this.end;
  }

  /** The line with a part of the state as `compareFinalState` shows it. */
  ofPart(part: string, text: string | undefined): number {
    const snapshotPart = SNAPSHOT_PARTS.find((name) => name === part);
    if (snapshotPart === undefined) return this.ofText(part, text);
    for (const [record, line] of this.ofRecords) {
      const alone: VmallocSnapshot = { ...EMPTY, [KEYS[snapshotPart]]: [record] };
      if (snapshotPart !== "meta" && isOf(snapshotPart, record) && snapshotLines(alone, snapshotPart)[0] === text)
        return line;
    }
    return this.end;
  }
}

const EMPTY: VmallocSnapshot = { free: [], busy: [], lazy: [], pool: [], blocks: [], freeBlocks: [], lazyNr: 0 };

/** The lists of a snapshot by the names of their parts. */
const KEYS = {
  free: "free",
  busy: "busy",
  lazy: "lazy",
  pool: "pool",
  vbfree: "freeBlocks",
  vb: "blocks",
  meta: "lazyNr",
} as const;

/** A field that only records of a part have. */
const OWN_FIELDS = {
  free: "subtreeMaxSize",
  busy: "vm",
  lazy: "node",
  pool: "index",
  vbfree: "dirty",
  vb: "hash",
} as const;

function isOf(part: keyof typeof OWN_FIELDS, record: object): boolean {
  return OWN_FIELDS[part] in record;
}
