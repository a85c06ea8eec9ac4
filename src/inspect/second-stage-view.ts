/** The tables of the second stage below a guest, as runs of equal entries: text and data. */
import type { PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import { LEVEL_NAMES } from "../../arch/walk/probe.ts";
import {
  SECOND_FETCH,
  SECOND_FETCH_USER,
  SECOND_READ,
  SECOND_WRITE,
  type SecondStage,
} from "../../arch/walk/second-stage.ts";
import { memoryTypeWords, type SecondStageLevel, secondStageRights } from "../../arch/walk/second-stage-probe.ts";
import { formatRunSize } from "../../mm/views/page-table-run.ts";
import { ValueError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";

/** Consecutive pages of guest-physical memory that the second stage maps alike: [start, end) in bytes. */
interface SecondStageRun
  extends Pick<
    SecondStageLevel,
    "readable" | "writable" | "executable" | "userExecutable" | "accessed" | "dirty" | "memoryType"
  > {
  readonly start: number;
  end: number;
  /** Level of the entries, which map pages. */
  readonly level: number;
  /** Whether the pages are registers of devices, behind which there is no memory. */
  readonly device: boolean;
  /** Whether the machine's frames are consecutive, too. */
  contiguous: boolean;
  /** The machine's frame that would go on. */
  nextFrame: number;
}

/** What an entry says of its page. */
type Mapped = Omit<SecondStageRun, "start" | "end" | "contiguous" | "nextFrame">;

/** What the tables hold. */
interface SecondStageDump {
  readonly stage: SecondStage;
  /** By level: tables, and entries that map a page. */
  readonly tables: readonly number[];
  readonly pages: readonly number[];
  readonly runs: readonly SecondStageRun[];
}

/** The runs as text, after two lines of what they are. */
export function secondStageLines(kernel: Kernel): string[] {
  const { stage, tables, pages, runs } = dumpOf(kernel);
  const counted = (counts: readonly number[], what: (level: number) => string): string =>
    counts.flatMap((count, level) => (count === 0 ? [] : [`${count} ${what(level)}`])).join(", ");
  return [
    `${formatOf(kernel)}, ${stage.format.levels} levels, root at 0x${(stage.rootFrame * 4096).toString(16)}, ${stage.format.accessed === 0 ? "without" : "with"} accessed and dirty flags`,
    `tables: ${counted(tables, tableName)}; maps ${counted(pages, (level) => `pages of ${sizeName(level)}`) || "nothing"}`,
    ...runs.map((run) => {
      const { start, end, level, accessed, dirty, memoryType, device, contiguous } = run;
      const words = [
        secondStageRights(run).padEnd(4),
        accessed === null ? " " : accessed ? "A" : "a",
        dirty === null ? " " : dirty ? "D" : "d",
        (memoryType === null ? "" : memoryTypeWords(memoryType)).padEnd(2),
        LEVEL_NAMES[level].padEnd(5),
        device ? "device" : contiguous && end - start > bytesOf(level) ? "consecutive frames" : "",
      ];
      return `${address(start)}-${address(end)}   ${formatRunSize(end - start).padStart(8)} ${words.join(" ")}`.trimEnd();
    }),
  ];
}

/** The tables as data: counts by level, and the runs. */
export function secondStageData(kernel: Kernel): object {
  const { stage, tables, pages, runs } = dumpOf(kernel);
  const byLevel = (counts: readonly number[], name: (level: number) => string): object =>
    Object.fromEntries(counts.flatMap((count, level) => (count === 0 ? [] : [[name(level), count]])));
  return {
    format: formatOf(kernel),
    levels: stage.format.levels,
    rootAddress: `0x${(stage.rootFrame * 4096).toString(16)}`,
    accessedDirtyFlags: stage.format.accessed !== 0,
    tables: byLevel(tables, tableName),
    pages: byLevel(pages, sizeName),
    runs: runs.map(({ start, end, level, memoryType, nextFrame: _, ...run }) => ({
      start: address(start),
      end: address(end),
      sizeBytes: end - start,
      entry: LEVEL_NAMES[level],
      pageSize: sizeName(level),
      ...run,
      memoryType: memoryType === null ? null : memoryTypeWords(memoryType),
    })),
  };
}

/** @throws ValueError where the kernel is no guest */
function dumpOf({ machine, host }: Kernel): SecondStageDump {
  const stage = machine.cpus.map(({ mmu }) => mmu.guest?.walker.stage ?? null).find((each) => each !== null);
  if (host === null || stage === undefined) {
    const line = "second-stage: the kernel is no guest (--guest)";
    throw new ValueError("second-stage", "none", "a kernel that is a guest", line);
  }
  const dump = { stage, tables: [0, 0, 0, 0, 0, 0], pages: [0, 0, 0, 0], runs: [] as SecondStageRun[] };
  addTable(dump, machine.systemMemory, stage.rootFrame, stage.format.levels, 0);
  return dump;
}

/** Adds what a table maps from a guest-physical frame on. */
function addTable(
  dump: { stage: SecondStage; tables: number[]; pages: number[]; runs: SecondStageRun[] },
  memory: PhysicalMemory,
  table: number,
  level: number,
  guestFrame: number,
): void {
  const { format } = dump.stage;
  dump.tables[level]++;
  for (let index = 0; index < 512; index++) {
    const low = memory.readWord(table, index * 2);
    const high = memory.readWord(table, index * 2 + 1);
    if (!format.isPresent(low) || format.isReserved(low, high, level)) continue;
    const first = guestFrame + index * 512 ** (level - 1);
    const frame = format.frameOf(low, high);
    if (!format.isLeaf(low, level)) {
      addTable(dump, memory, frame, level - 1, first);
      continue;
    }
    dump.pages[level]++;
    const pages = 512 ** (level - 1);
    addRun(dump.runs, first, frame - (frame % pages), {
      ...rightsOf(format.rightsOf(low, high)),
      accessed: format.accessed === 0 ? null : (low & format.accessed) !== 0,
      dirty: format.dirty === 0 ? null : (low & format.dirty) !== 0,
      memoryType: format.memoryTypeOf(low),
      level,
      device: !memory.has(frame),
    });
  }
}

/** Adds a page: to the last run, if it goes on with the same attributes. */
function addRun(runs: SecondStageRun[], guestFrame: number, frame: number, mapped: Mapped): void {
  const last = runs.at(-1);
  const [start, end] = [guestFrame * 4096, guestFrame * 4096 + bytesOf(mapped.level)];
  const nextFrame = frame + 512 ** (mapped.level - 1);
  if (last === undefined || last.end !== start || attributesOf(last) !== attributesOf(mapped)) {
    runs.push({ ...mapped, start, end, contiguous: true, nextFrame });
    return;
  }
  last.contiguous &&= last.nextFrame === frame;
  last.end = end;
  last.nextFrame = nextFrame;
}

function attributesOf(run: Mapped): string {
  const { level, device, accessed, dirty, memoryType } = run;
  return JSON.stringify([level, device, accessed, dirty, memoryType, secondStageRights(run)]);
}

function rightsOf(rights: number) {
  return {
    readable: (rights & SECOND_READ) !== 0,
    writable: (rights & SECOND_WRITE) !== 0,
    executable: (rights & SECOND_FETCH) !== 0,
    userExecutable: (rights & SECOND_FETCH_USER) !== 0,
  };
}

function formatOf({ machine }: Kernel): string {
  return machine.preset.vendor === "amd" ? "nested page tables" : "extended page tables (EPT)";
}

function tableName(level: number): string {
  return ["", "PT", "PD", "PDPT", "PML4", "PML5"][level];
}

function sizeName(level: number): string {
  return ["", "4K", "2M", "1G"][level];
}

function bytesOf(level: number): number {
  return 4096 * 512 ** (level - 1);
}

function address(value: number): string {
  return `0x${value.toString(16).padStart(12, "0")}`;
}
