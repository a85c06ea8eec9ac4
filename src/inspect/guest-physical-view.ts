/** What a CPU has cached of the second stage alone: guest-physical pages, and entries of the second stage's tables. */
import { LEVEL_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { SIZE_BYTES, SIZE_TABLE } from "../../arch/isa/translation.ts";
import { structureLevel } from "../../arch/tlb/paging-structure-caches.ts";
import type { Tlb } from "../../arch/tlb/tlb.ts";
import { SECOND_FETCH, SECOND_READ, SECOND_WRITE } from "../../arch/walk/second-stage.ts";
import type { Kernel } from "../machine/kernel.ts";
import type { TranslationTruth } from "./translation-truth.ts";

/** A used slot. */
export interface GuestPhysicalSlot {
  readonly set: number;
  readonly way: number;
  /** First guest-physical address. */
  readonly guestPhysical: number;
  readonly sizeBytes: number;
  /** Level of an entry of a table that is cached, 2 (PDE) to 5; 0 for a page. */
  readonly tableLevel: number;
  /** Frame in the machine of the page or of the second stage's table. */
  readonly frame: number;
  /** What the second stage allows, `RWX`, with `-` for what it refuses. */
  readonly rights: string;
  /** What its tag names: the second stage's root with Intel, the ASID with AMD. */
  readonly tag: string;
  /** 0 for the youngest of its set, and so on up to the one that is evicted next. */
  readonly age: number;
  /** In what it disagrees with the second stage; null when it agrees. */
  readonly stale: string | null;
}

/** One cache. */
export interface GuestPhysicalStructure {
  readonly name: string;
  readonly sets: number;
  readonly ways: number;
  readonly slots: readonly GuestPhysicalSlot[];
}

/** The caches of guest-physical mappings of a CPU that hold pages, or those that hold entries of tables; none before its first guest. */
export function guestPhysicalView(
  { machine }: Kernel,
  cpuNumber: number,
  entries: "translations" | "tables",
  truth: TranslationTruth,
): GuestPhysicalStructure[] {
  const cpu = machine.cpus[cpuNumber];
  const { numbers, guestPhysicalCaches } = cpu.virtualization;
  if (guestPhysicalCaches === null) return [];
  const { ofPages, ofTables } = guestPhysicalCaches;
  const ofTranslations = ofPages === null ? [] : [ofPages];
  return (entries === "tables" ? ofTables : ofTranslations).map((tlb) => {
    const { name, sets, ways } = tlb;
    const slots: GuestPhysicalSlot[] = [];
    for (let slot = 0; slot < sets * ways; slot++) {
      if (!tlb.isUsed(slot)) continue;
      const [size, frame, rights, guestPhysical] = [
        tlb.sizeOf(slot),
        tlb.frameOf(slot),
        tlb.flagsOf(slot),
        tlb.addressOf(slot),
      ];
      const tableLevel = size === SIZE_TABLE ? structureLevel(tlb.tagOf(slot)) : 0;
      const letter = (right: number, written: string): string => ((rights & right) === 0 ? "-" : written);
      const number = tlb.guestOf(slot);
      slots.push({
        ...placeOf(tlb, slot),
        guestPhysical,
        sizeBytes: tableLevel > 0 ? LEVEL_BYTES[tableLevel] : SIZE_BYTES[size],
        tableLevel,
        frame,
        rights: `${letter(SECOND_READ, "R")}${letter(SECOND_WRITE, "W")}${letter(SECOND_FETCH, "X")}`,
        tag:
          machine.preset.vendor === "amd"
            ? `ASID ${numbers.idOf(number)}`
            : `root 0x${numbers.rootOf(number).toString(16)}`,
        stale: truth.ofGuestPhysical(cpu, guestPhysical / PAGE_SIZE, tableLevel, frame),
      });
    }
    return { name, sets, ways, slots };
  });
}

function placeOf(tlb: Tlb, slot: number): Pick<GuestPhysicalSlot, "set" | "way" | "age"> {
  const [set, way] = [Math.floor(slot / tlb.ways), slot % tlb.ways];
  const ages = tlb.replacement.ages(set, (each) => tlb.isUsed(set * tlb.ways + each));
  return { set, way, age: ages[way] };
}
