/**
 * What CPUs have cached of the page tables, as sets and ways: TLBs and paging-structure caches; of guests, combined entries with what they
 * have of both stages, and guest-physical mappings.
 */
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { formatLinearAddress16 } from "../../arch/isa/linear-address.ts";
import { SIZE_BYTES, SIZE_NAMES } from "../../arch/isa/translation.ts";
import { LEVEL_NAMES } from "../../arch/walk/probe.ts";
import { ValueError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { counted } from "../report/counted.ts";
import { type GuestPhysicalStructure, guestPhysicalView } from "./guest-physical-view.ts";
import { type GuestOfSlot, type TlbSlot, type TlbStructure, tlbView } from "./tlb-view.ts";
import { TranslationTruth } from "./translation-truth.ts";

/** Which entries are shown: translations, or entries of tables. */
type Entries = "translations" | "tables";

/** The CPU that was chosen, or all; of vCPUs that work with the caches of one physical CPU, the first. @throws ValueError for a CPU that there is not */
function chosenCpus({ machine: { cpus, config } }: Kernel, cpu: number | undefined): readonly Cpu[] {
  if (cpu === undefined) return cpus.slice(0, config.physicalCpus);
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
    const guestPhysical = guestPhysicalView(kernel, id, entries, truth);
    return { cpu: id, pcid, structures: shown.filter(isHolder), guestPhysical, vcpus: vcpusOn(kernel, id) };
  });
}

/** The vCPUs that work with a CPU's caches, with their VPIDs or ASIDs; empty without a guest. */
function vcpusOn({ host, machine }: Kernel, cpu: number): readonly { readonly vcpu: number; readonly id: number }[] {
  const { physicalCpus } = machine.config;
  return (host?.vcpus ?? []).flatMap(({ id }, vcpu) =>
    vcpu % physicalCpus === cpu % physicalCpus ? [{ vcpu, id }] : [],
  );
}

/** What ids of guests are called. */
function idName({ machine }: Kernel): "VPID" | "ASID" {
  return machine.preset.vendor === "amd" ? "ASID" : "VPID";
}

/** The entries as data: CPUs with their structures, and these with their used slots. Addresses are hexadecimal. */
export function cachedData(kernel: Kernel, entries: Entries, chosen: number | undefined): object {
  const id = idName(kernel).toLowerCase();
  const cpus = structuresOf(kernel, entries, chosen).map(({ cpu, pcid, structures, guestPhysical, vcpus }) => ({
    cpu,
    pcid,
    ...(vcpus.length === 0 ? {} : { vcpus: vcpus.map((each) => ({ vcpu: each.vcpu, [id]: each.id })) }),
    staleEntries: [...structures, ...guestPhysical].reduce((sum, each) => sum + staleIn(each), 0),
    structures: structures.map(({ slots, ...structure }) => ({
      ...structure,
      entries: slots.map(({ la, rights, tableLevel, guest, ...slot }) => ({
        ...slot,
        address: formatLinearAddress16(la),
        ...(tableLevel > 0 ? { entry: LEVEL_NAMES[tableLevel] } : {}),
        rights: rights.split(" "),
        ...(guest === null ? {} : guestData(guest, id, tableLevel > 0)),
      })),
    })),
    ...(guestPhysical.length === 0 ? {} : { guestPhysical: guestPhysicalData(guestPhysical) }),
  }));
  return { cpus };
}

function guestData({ id, guestSizeBytes, hostSizeBytes, hostRights }: GuestOfSlot, name: string, isTable: boolean) {
  return isTable ? { [name]: id } : { [name]: id, guestSizeBytes, hostSizeBytes, hostRights };
}

function guestPhysicalData(structures: readonly GuestPhysicalStructure[]): object[] {
  return structures.map(({ slots, ...structure }) => ({
    ...structure,
    entries: slots.map(({ guestPhysical, tableLevel, ...slot }) => ({
      ...slot,
      guestPhysicalAddress: `0x${guestPhysical.toString(16)}`,
      ...(tableLevel > 0 ? { entry: LEVEL_NAMES[tableLevel] } : {}),
    })),
  }));
}

/** The entries as text: a heading for each structure, what is stale and why, and a line for each used slot. */
export function cachedLines(kernel: Kernel, entries: Entries, chosen: number | undefined): string[] {
  const id = idName(kernel);
  return structuresOf(kernel, entries, chosen).flatMap(({ cpu, structures, guestPhysical, vcpus }) => {
    const ids = vcpus.map((each) => `${each.vcpu} (${id} ${each.id})`).join(", ");
    const heading = vcpus.length === 0 ? [] : [`CPU ${cpu} of the host, vCPU${vcpus.length > 1 ? "s" : ""} ${ids}`];
    const isGuest = vcpus.length > 0;
    return [
      ...heading,
      ...structures.flatMap((structure) => structureLines(cpu, structure, entries, isGuest ? id : null)),
      ...guestPhysical.flatMap((structure) => guestPhysicalLines(cpu, structure)),
    ];
  });
}

function titleOf(cpu: number, { name, sets, ways, slots }: Titled, what: string): string {
  const entriesText = `${slots.length} ${what}${slots.length === 1 ? "entry" : "entries"}, ${staleIn({ slots })} stale`;
  return `CPU ${cpu}, ${name}: ${counted(sets, "set")} of ${counted(ways, "way")}, ${entriesText}`;
}
type Titled = Pick<TlbStructure, "name" | "sets" | "ways"> & {
  readonly slots: readonly { readonly stale: string | null }[];
};

/** @param id what ids of guests are called; null without a guest */
function structureLines(cpu: number, structure: TlbStructure, entries: Entries, id: string | null): string[] {
  const { slots } = structure;
  const title = titleOf(cpu, structure, id !== null && slots.length > 0 && slots.every(isCombined) ? "combined " : "");
  if (slots.length === 0) return [title];
  const reasons = staleReasons(structure);
  const markOf = (slot: TlbSlot): string => {
    if (slot.stale === null) return "";
    return reasons.size === 1 ? "STALE" : `STALE ${[...reasons.keys()].indexOf(reasonOf(slot)) + 1}`;
  };
  const why = [...reasons].map(([reason, count], i) => {
    return `  STALE${reasons.size === 1 ? "" : ` ${i + 1}`} (${count}): ${reason}`;
  });
  if (id !== null) {
    const headings = (entries === "tables" ? GUEST_TABLE_HEADINGS : GUEST_HEADINGS).replace("VPID", id);
    return [title, ...why, headings, ...slots.map((slot) => guestLineOf(slot, entries, markOf(slot)))];
  }
  const headings = entries === "tables" ? TABLE_HEADINGS : TRANSLATION_HEADINGS;
  return [title, ...why, headings, ...slots.map((slot) => lineOf(slot, entries, markOf(slot)))];
}

function isCombined({ guest }: TlbSlot): boolean {
  return guest !== null;
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

const GUEST_HEADINGS = "set  way  page                guest/host  frame      VPID  pcid  flags        host  age  stale";
const GUEST_TABLE_HEADINGS = "set  way  entry  from                table      VPID  pcid  flags     age  stale";
const GUEST_PHYSICAL_HEADINGS = "set  way  guest-physical      size   frame      host  age  tag";
const TRANSLATION_HEADINGS = "set  way  page                size  frame       pcid  flags      age  stale";
const TABLE_HEADINGS = "set  way  entry  from                table        pcid  flags     age  stale";
/** Entries of tables have no dirty flag. */
const TABLE_FLAGS_WIDTH = 9;

function lineOf(slot: TlbSlot, entries: Entries, mark: string): string {
  const { set, way, la, frame, pcid, rights, age } = slot;
  const address = formatLinearAddress16(la);
  const shownFrame = `0x${frame.toString(16).padStart(9, "0")}`;
  const pcidText = (pcid === null ? "GLB" : String(pcid)).padStart(4);
  const what =
    entries === "tables"
      ? [LEVEL_NAMES[slot.tableLevel].padEnd(5), address, shownFrame, pcidText]
      : [address, nameOfSize(slot.sizeBytes).padStart(4), shownFrame, pcidText];
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

/** An entry of a guest: its tag, and of a translation the size of the page in both stages and what the second one allows. */
function guestLineOf(slot: TlbSlot, entries: Entries, mark: string): string {
  const { set, way, la, sizeBytes, frame, pcid, rights, age, guest } = slot;
  const address = formatLinearAddress16(la);
  const [guestSize, hostSize] = [guest?.guestSizeBytes ?? sizeBytes, guest?.hostSizeBytes ?? null];
  const sizes = `${nameOfSize(guestSize)}/${hostSize === null ? "?" : nameOfSize(hostSize)}`;
  const isTable = entries === "tables";
  const columns = [
    String(set).padStart(3),
    String(way).padStart(3),
    ...(isTable ? [LEVEL_NAMES[slot.tableLevel].padEnd(5), address] : [address, sizes.padEnd(10)]),
    frameText(frame),
    (guest === null ? "host" : String(guest.id)).padStart(4),
    (pcid === null ? "GLB" : String(pcid)).padStart(4),
    isTable ? flagsText(rights).slice(0, TABLE_FLAGS_WIDTH) : flagsText(rights),
    ...(isTable ? [] : [(guest?.hostRights ?? "").padEnd(4)]),
    age === null ? "  -" : String(age).padStart(3),
    mark,
  ];
  return columns.join("  ").trimEnd();
}

/** A cache of guest-physical mappings. */
function guestPhysicalLines(cpu: number, structure: GuestPhysicalStructure): string[] {
  const { slots } = structure;
  const title = titleOf(cpu, structure, "");
  if (slots.length === 0) return [title];
  const lines = slots.map(({ set, way, guestPhysical, sizeBytes, tableLevel, frame, rights, age, tag, stale }) => {
    const what = tableLevel > 0 ? LEVEL_NAMES[tableLevel] : nameOfSize(sizeBytes);
    const columns = [
      String(set).padStart(3),
      String(way).padStart(3),
      `0x${guestPhysical.toString(16).padStart(16, "0")}`,
      what.padEnd(5),
      frameText(frame),
      rights.padEnd(4),
      String(age).padStart(3),
      tag,
    ];
    return `${columns.join("  ")}${stale === null ? "" : `  STALE: ${stale}`}`;
  });
  return [title, GUEST_PHYSICAL_HEADINGS, ...lines];
}

function frameText(frame: number): string {
  return `0x${frame.toString(16).padStart(7, "0")}`;
}

/** Rights in columns, as the page-table dump has them. */
function flagsText(rights: string): string {
  const words = rights.split(" ");
  const column = (word: string): string => (words.includes(word) ? word : " ".repeat(word.length));
  const writable = words.includes("RW") ? "RW" : "ro";
  return `${column("USR")} ${writable} ${words.includes("NX") ? "NX" : "x "} ${column("D")}`;
}

function staleIn({ slots }: { readonly slots: readonly { readonly stale: string | null }[] }): number {
  return slots.filter(({ stale }) => stale !== null).length;
}

function nameOfSize(sizeBytes: number): string {
  const sizes: readonly number[] = SIZE_BYTES;
  return SIZE_NAMES[sizes.indexOf(sizeBytes)];
}
