/**
 * The cases of the pointer matrix: 64-bit pointers with every kind of upper bits, accesses and entries, under all settings of what a CPU
 * does with a pointer before paging (LAM_U48, LAM_U57, LAM_SUP, LASS, UAI), with four and five levels, natively and in a guest.
 */

/** Settings of the CPU, or of the guest that it runs. EFER.NXE and CR0.WP are 1. */
export interface PointerSetting {
  readonly vendor: "intel" | "amd";
  readonly levels: 4 | 5;
  readonly lamU48: boolean;
  readonly lamU57: boolean;
  readonly lamSup: boolean;
  readonly lass: boolean;
  readonly uai: boolean;
  readonly smap: boolean;
  readonly smep: boolean;
}

/** Bits of the entry that maps each page of the access. */
export const LEAF = { present: 1, write: 2, user: 4, accessed: 8, dirty: 16, nx: 32 } as const;
/** Where the access is made: in the host, or in a guest whose second stage allows so much of the page. */
export const PLACES = ["native", "all", "no write", "no fetch", "absent"] as const;
/** The access; those to system structures are implicit. */
export const KINDS = ["load", "store", "fetch", "implicit load", "implicit store"] as const;

/** One case: an access of {@link ACCESS_BYTES} bytes. */
export interface PointerCase {
  pointer: bigint;
  kind: (typeof KINDS)[number];
  cpl: 0 | 3;
  alignmentCheck: boolean;
  /** `LEAF` bits. */
  leaf: number;
  place: (typeof PLACES)[number];
  /** In a guest on Intel: accessed and dirty flags of EPT. */
  accessedDirty: boolean;
}

/** Bytes of each access. */
export const ACCESS_BYTES = 8;

/** Bits 62:57, which masking may take away. */
const TAGS = [0n, 0x3fn, 0x2an, 0x20n];
/** Bits 55:48. */
const MIDDLES = [0n, 0xffn, 0x5an];
/** Bits 46:0: within a page, across its end, and across the end of all that they can say. */
const LOWS = [0x1234_5678n, 0x1234_5ffcn, 0x7fff_ffff_fffcn];

/** How many cases there are under each setting. */
export const POINTER_CASES_PER_SETTING =
  2 * TAGS.length * 2 * MIDDLES.length * 2 * LOWS.length * 5 * 2 * 2 * 64 * 5 * 2;

/** A case with nothing set. */
export function emptyPointerCase(): PointerCase {
  return { pointer: 0n, kind: "load", cpl: 0, alignmentCheck: false, leaf: 0, place: "native", accessedDirty: false };
}

/** All settings of a vendor. */
export function allPointerSettings(vendor: PointerSetting["vendor"]): PointerSetting[] {
  const settings: PointerSetting[] = [];
  for (let bits = 0; bits < (vendor === "intel" ? 128 : 16); bits++) {
    const isSet = (bit: number): boolean => ((bits >> bit) & 1) !== 0;
    settings.push({
      vendor,
      levels: isSet(0) ? 5 : 4,
      smap: isSet(1),
      smep: isSet(2),
      uai: vendor === "amd" && isSet(3),
      lamU48: vendor === "intel" && isSet(3),
      lamU57: isSet(4),
      lamSup: isSet(5),
      lass: isSet(6),
    });
  }
  return settings;
}

/** The case with a number below {@link POINTER_CASES_PER_SETTING}, into `into`. */
export function pointerCaseAt(index: number, into: PointerCase): void {
  let rest = index;
  const take = (count: number): number => {
    const value = rest % count;
    rest = Math.floor(rest / count);
    return value;
  };
  into.kind = KINDS[take(5)];
  into.cpl = take(2) === 1 ? 3 : 0;
  into.alignmentCheck = take(2) === 1;
  into.place = PLACES[take(5)];
  into.accessedDirty = take(2) === 1;
  const bit63 = BigInt(take(2)) << 63n;
  const tag = TAGS[take(TAGS.length)] << 57n;
  const bit56 = BigInt(take(2)) << 56n;
  const middle = MIDDLES[take(MIDDLES.length)] << 48n;
  const bit47 = BigInt(take(2)) << 47n;
  into.pointer = bit63 | tag | bit56 | middle | bit47 | LOWS[take(LOWS.length)];
  into.leaf = take(64);
}

/** A case in words, to be read by people. */
export function describePointerCase(setting: PointerSetting, each: PointerCase): string {
  const on = Object.entries(setting).filter(([, value]) => value === true);
  const leaf = Object.entries(LEAF).filter(([, bit]) => (each.leaf & bit) !== 0);
  const flags = each.place === "native" || !each.accessedDirty ? "" : ", A and D of EPT";
  return [
    `CPU: ${[setting.vendor, `${setting.levels} levels`, ...on.map(([name]) => name)].join(" ")}`,
    `${each.kind} of 0x${each.pointer.toString(16)} at CPL ${each.cpl}, AC ${each.alignmentCheck ? 1 : 0}`,
    `entry: ${leaf.map(([name]) => name).join(" ") || "none"}`,
    `second stage: ${each.place}${flags}`,
  ].join("; ");
}
