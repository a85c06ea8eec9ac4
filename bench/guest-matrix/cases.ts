/**
 * The cases of the guest matrix: combinations of bits in both dimensions of a guest's translation of one address, of accesses and of CPU
 * settings. Each number below is a dimension; a case's index is made of all of them.
 */

/** Bits of the guest's last entry. */
export const GUEST = { present: 1, write: 2, user: 4, accessed: 8, dirty: 16, nx: 32, reserved: 64 } as const;
/** Bits of the guest's entry above it. */
export const ABOVE = { write: 1, accessed: 2 } as const;
/** Bits of the last entry of EPT for the page. */
export const EPT = {
  read: 1,
  write: 2,
  execute: 4,
  executeUser: 8,
  badType: 16,
  reserved: 32,
  accessed: 64,
  dirty: 128,
} as const;
/** Bits of the last nested entry for the page; a number of the same size as those of EPT. */
export const NPT = {
  present: 1,
  write: 2,
  user: 4,
  nx: 8,
  reserved: 16,
  accessed: 32,
  dirty: 64,
  global: 128,
} as const;
/** What the entry of the second stage above the page's last one allows: all, no writes, no fetches, nothing (not present). */
export const UPPER = { all: 0, noWrite: 1, noFetch: 2, absent: 3 } as const;
/** What the second stage's last entry allows for the guest's last table. */
export const TABLE = { all: 0, readOnly: 1, absent: 2, misconfigured: 3, used: 4 } as const;
/** The access. `twice`: a supervisor read of the address comes first, whatever becomes of it. */
export const ACCESS = { user: 1, write: 2, fetch: 4, twice: 8 } as const;

/** Accesses that exist: never a write that is a fetch. */
const ACCESSES = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13] as const;

/** Settings of the CPU and of its guest. */
export interface Setting {
  readonly vendor: "intel" | "amd";
  /** Of the guest. */
  readonly writeProtect: boolean;
  /** Of the guest; on AMD the host's too. */
  readonly nxe: boolean;
  /** Of the guest. */
  readonly smep: boolean;
  /** Accessed and dirty flags of EPT. */
  readonly accessedDirty: boolean;
  /** Mode-based execute control for EPT. */
  readonly modeBased: boolean;
  /** Whether the CPU has execute-only pages in EPT. */
  readonly executeOnly: boolean;
}

/** One case. */
export interface Case {
  /** `GUEST` bits. */
  guest: number;
  /** Whether the guest's page is one of 2 MiB, so that `guest` is its PDE. */
  guestLarge: boolean;
  /** `ABOVE` bits. */
  above: number;
  /** `EPT` or `NPT` bits. */
  second: number;
  /** Level of that entry: 1, 2 or 3. */
  secondLevel: number;
  /** `UPPER`. */
  upper: number;
  /** `TABLE`. */
  table: number;
  /** `ACCESS` bits. */
  access: number;
}

/** A case with nothing set. */
export function emptyCase(): Case {
  return { guest: 0, guestLarge: false, above: 0, second: 0, secondLevel: 1, upper: 0, table: 0, access: 0 };
}

/** All settings of a vendor. */
export function allSettings(vendor: Setting["vendor"]): Setting[] {
  const count = vendor === "intel" ? 64 : 8;
  return Array.from({ length: count }, (_, bits) => ({
    vendor,
    writeProtect: (bits & 1) !== 0,
    nxe: (bits & 2) !== 0,
    smep: (bits & 4) !== 0,
    accessedDirty: (bits & 8) !== 0,
    modeBased: (bits & 16) !== 0,
    executeOnly: (bits & 32) !== 0,
  }));
}

/** Level of the second stage's last entry, and what the one above it allows: above a PDPTE is what the guest's tables need too. */
const LEVELS_AND_UPPERS = [1, 2]
  .flatMap((level) => Object.values(UPPER).map((upper) => [level, upper] as const))
  .concat([[3, UPPER.all]]);

/** How many cases there are under each setting. */
export const CASES_PER_SETTING = 128 * 2 * 4 * 256 * LEVELS_AND_UPPERS.length * 5 * ACCESSES.length;

/** The case with a number below {@link CASES_PER_SETTING}, into `into`. */
export function caseAt(index: number, into: Case): void {
  let rest = index;
  const take = (count: number): number => {
    const value = rest % count;
    rest = Math.floor(rest / count);
    return value;
  };
  into.access = ACCESSES[take(ACCESSES.length)];
  into.table = take(5);
  [into.secondLevel, into.upper] = LEVELS_AND_UPPERS[take(LEVELS_AND_UPPERS.length)];
  into.second = take(256);
  into.above = take(4);
  into.guestLarge = take(2) === 1;
  into.guest = take(128);
}

/** A case in words, to be read by people. */
export function describeCase(setting: Setting, each: Case): string {
  const words = (bits: number, names: Readonly<Record<string, number>>): string =>
    Object.entries(names)
      .filter(([, bit]) => (bits & bit) !== 0)
      .map(([name]) => name)
      .join(" ") || "none";
  const nameOf = (value: number, names: Readonly<Record<string, number>>): string =>
    Object.keys(names).find((name) => names[name] === value) ?? "";
  const on = Object.entries(setting).filter(([, value]) => value === true);
  return [
    `CPU: ${[setting.vendor, ...on.map(([name]) => name)].join(" ")}`,
    `guest's ${each.guestLarge ? "PDE" : "PTE"}: ${words(each.guest, GUEST)}; above: ${words(each.above, ABOVE)}`,
    `second stage, level ${each.secondLevel}: ${words(each.second, setting.vendor === "intel" ? EPT : NPT)}`,
    `above: ${nameOf(each.upper, UPPER)}; for the guest's table: ${nameOf(each.table, TABLE)}`,
    `access: ${words(each.access, ACCESS)}`,
  ].join("; ");
}
