/** What CPUs have cached of the page tables, as sets and ways: TLBs and paging-structure caches. */
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { formatLinearAddress16 } from "../../arch/isa/linear-address.ts";
import { SIZE_BYTES, SIZE_NAMES } from "../../arch/isa/translation.ts";
import { LEVEL_NAMES } from "../../arch/walk/probe.ts";
import { ValueError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { type TlbSlot, type TlbStructure, tlbView } from "./tlb-view.ts";
import { TranslationTruth } from "./translation-truth.ts";

/** Which entries are shown: translations, or entries of tables. */
type Entries = "translations" | "tables";

/** The CPU that was chosen, or all. @throws ValueError for a CPU that there is not */
function chosenCpus({ machine: { cpus } }: Kernel, cpu: number | undefined): readonly Cpu[] {
  if (cpu === undefined) return cpus;
  if (cpu >= cpus.length) throw absentCpu(cpu, cpus.length);
  return [cpus[cpu]];
}

/** The error for a CPU that the machine does not have. */
export function absentCpu(cpu: number, cpus: number): ValueError {
  const line = `there is no CPU ${cpu}: the machine has ${cpus}, from 0`;
  return new ValueError("CPU", cpu, `a CPU from 0 to ${cpus - 1}`, line);
}

/** Structures of the chosen CPUs with entries of one kind; those that can hold none are left out. */
function structuresOf(kernel: Kernel, entries: Entries, chosen: number | undefined) {
  const truth = new TranslationTruth(kernel);
  const isShown = ({ tableLevel }: TlbSlot): boolean => tableLevel > 0 === (entries === "tables");
  return chosenCpus(kernel, chosen).map(({ id }) => {
    const { pcid, structures } = tlbView(kernel, id, truth);
    const shown = structures.map((each) => ({ ...each, slots: each.slots.filter(isShown) }));
    const isHolder = ({ kinds, slots }: TlbStructure): boolean =>
      slots.length > 0 || (kinds === "tables") === (entries === "tables");
    return { cpu: id, pcid, structures: shown.filter(isHolder) };
  });
}

/** The entries as data: CPUs with their structures, and these with their used slots. Addresses are hexadecimal. */
export function cachedData(kernel: Kernel, entries: Entries, chosen: number | undefined): object {
  const cpus = structuresOf(kernel, entries, chosen).map(({ cpu, pcid, structures }) => ({
    cpu,
    pcid,
    staleEntries: structures.reduce((sum, each) => sum + staleIn(each), 0),
    structures: structures.map(({ slots, ...structure }) => ({
      ...structure,
      entries: slots.map(({ la, rights, tableLevel, ...slot }) => ({
        ...slot,
        address: formatLinearAddress16(la),
        ...(tableLevel > 0 ? { entry: LEVEL_NAMES[tableLevel] } : {}),
        rights: rights.split(" "),
      })),
    })),
  }));
  return { cpus };
}

/** The entries as text: a heading for each structure, what is stale and why, and a line for each used slot. */
export function cachedLines(kernel: Kernel, entries: Entries, chosen: number | undefined): string[] {
  const headings = entries === "tables" ? TABLE_HEADINGS : TRANSLATION_HEADINGS;
  return structuresOf(kernel, entries, chosen).flatMap(({ cpu, structures }) =>
    structures.flatMap((structure) => {
      const { name, sets, ways, slots } = structure;
      const entriesText = `${slots.length} ${slots.length === 1 ? "entry" : "entries"}, ${staleIn(structure)} stale`;
      const title = `CPU ${cpu}, ${name}: ${plural(sets, "set")} of ${plural(ways, "way")}, ${entriesText}`;
      if (slots.length === 0) return [title];
      const reasons = staleReasons(structure);
      const markOf = (slot: TlbSlot): string => {
        if (slot.stale === null) return "";
        return reasons.size === 1 ? "STALE" : `STALE ${[...reasons.keys()].indexOf(reasonOf(slot)) + 1}`;
      };
      const why = [...reasons].map(([reason, count], i) => {
        return `  STALE${reasons.size === 1 ? "" : ` ${i + 1}`} (${count}): ${reason}`;
      });
      return [title, ...why, headings, ...slots.map((slot) => lineOf(slot, entries, markOf(slot)))];
    }),
  );
}

/** Why entries are stale and what flushes them, with how many there are of each. */
function staleReasons({ slots }: TlbStructure): Map<string, number> {
  const reasons = new Map<string, number>();
  for (const slot of slots) {
    if (slot.stale === null) continue;
    const reason = reasonOf(slot);
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return reasons;
}

function reasonOf({ stale, owedBy }: TlbSlot): string {
  return `${stale}; ${owedBy === "" ? "no flush is owed" : `flushed by ${owedBy}`}`;
}

const TRANSLATION_HEADINGS = "set  way  page                size  frame       pcid  flags      age  stale";
const TABLE_HEADINGS = "set  way  entry  from                table        pcid  flags     age  stale";
/** Entries of tables have no dirty flag. */
const TABLE_FLAGS_WIDTH = 9;

function lineOf(slot: TlbSlot, entries: Entries, mark: string): string {
  const { set, way, la, frame, pcid, rights, age } = slot;
  const address = formatLinearAddress16(la);
  const frameText = `0x${frame.toString(16).padStart(9, "0")}`;
  const pcidText = (pcid === null ? "GLB" : String(pcid)).padStart(4);
  const what =
    entries === "tables"
      ? [LEVEL_NAMES[slot.tableLevel].padEnd(5), address, frameText, pcidText]
      : [address, nameOfSize(slot.sizeBytes).padStart(4), frameText, pcidText];
  const columns = [
    String(set).padStart(3),
    String(way).padStart(3),
    ...what,
    entries === "tables" ? flagsText(rights).slice(0, TABLE_FLAGS_WIDTH) : flagsText(rights),
    age === null ? "  -" : String(age).padStart(3),
    mark,
  ];
  return columns.join("  ").trimEnd();
}

/** Rights in columns, as the page-table dump has them. */
function flagsText(rights: string): string {
  const words = rights.split(" ");
  const column = (word: string): string => (words.includes(word) ? word : " ".repeat(word.length));
  const writable = words.includes("RW") ? "RW" : "ro";
  return `${column("USR")} ${writable} ${words.includes("NX") ? "NX" : "x "} ${column("D")}`;
}

function staleIn({ slots }: TlbStructure): number {
  return slots.filter(({ stale }) => stale !== null).length;
}

function nameOfSize(sizeBytes: number): string {
  const sizes: readonly number[] = SIZE_BYTES;
  return SIZE_NAMES[sizes.indexOf(sizeBytes)];
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
