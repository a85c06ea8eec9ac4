/**
 * The cases of the access matrix: every legal combination of page-table bits, access and CPU settings for one address. The
 * dimensions are those of the access test of kvm-unit-tests, restated; each is a bit of a number here.
 */

/** Bits of a PTE, as case bits. */
export const PTE = { present: 1, write: 2, user: 4, accessed: 8, dirty: 16, nx: 32, bit51: 64, bit36: 128 } as const;

/** Bits of a PDE, as case bits. */
export const PDE = {
  present: 1,
  write: 2,
  user: 4,
  accessed: 8,
  dirty: 16,
  nx: 32,
  bit51: 64,
  bit36: 128,
  large: 256,
  bit13: 512,
} as const;

/** The access. `twice`: a supervisor read of the address comes first, whatever becomes of it. */
export const ACCESS = { user: 1, write: 2, fetch: 4, twice: 8 } as const;

/** Bits of the entries above a PTE that only some vendors, or some levels, have a meaning for. Bit 8 of a large PDE is G. */
export const UPPER = { pml4eBit7: 1, pml4eBit8: 2, pdpteBit8: 4, pdeBit8: 8 } as const;

/** Settings of the CPU. */
export interface Setting {
  readonly vendor: "intel" | "amd";
  readonly nxe: boolean;
  readonly writeProtect: boolean;
  readonly smep: boolean;
  readonly pke: boolean;
  /** AD and WD of key 1 in PKRU; key 2, which only PDEs that are no leaves carry, has both. */
  readonly accessDisable: boolean;
  readonly writeDisable: boolean;
}

/** One case; bits as above. */
export interface Case {
  pte: number;
  pde: number;
  /** Whether the PDPTE has R/W = 0. */
  readOnlyPdpte: boolean;
  /** Whether the leaf has protection key 1 (and a PDE above a PTE key 2). */
  key: boolean;
  access: number;
  /** `UPPER` bits. */
  upper: number;
}

/** A case with nothing set. */
export function emptyCase(): Case {
  return { pte: 0, pde: 0, readOnlyPdpte: false, key: false, access: 0, upper: 0 };
}

/** All settings of a vendor: with `smep` false 20, with true 20. PKRU bits only with CR4.PKE = 1. */
export function allSettings(smep: boolean, vendor: Setting["vendor"]): Setting[] {
  const settings: Setting[] = [];
  for (const nxe of [false, true]) {
    for (const writeProtect of [false, true]) {
      for (const keys of [0, 4, 5, 6, 7]) {
        settings.push({
          vendor,
          nxe,
          writeProtect,
          smep,
          pke: (keys & 4) !== 0,
          accessDisable: (keys & 1) !== 0,
          writeDisable: (keys & 2) !== 0,
        });
      }
    }
  }
  return settings;
}

/** Pairs of PTE and PDE bits (pte | pde << 8) with at most one reserved bit in all; PDE bit 13 only with PS = 1. */
export function entryPairs(nxe: boolean): Int32Array {
  const pairs: number[] = [];
  const reservedPte = PTE.bit51 | PTE.bit36 | (nxe ? 0 : PTE.nx);
  const reservedPde = PDE.bit51 | PDE.bit36 | PDE.bit13 | (nxe ? 0 : PDE.nx);
  for (let pde = 0; pde < 1024; pde++) {
    if ((pde & PDE.bit13) !== 0 && (pde & PDE.large) === 0) continue;
    for (let pte = 0; pte < 256; pte++) {
      if (ones(pte & reservedPte) + ones(pde & reservedPde) <= 1) pairs.push(pte | (pde << 8));
    }
  }
  return Int32Array.from(pairs);
}

/** Legal accesses: never a write that is a fetch; no user access under SMEP. */
export function accessKinds(smep: boolean): number[] {
  return Array.from({ length: 16 }, (_, access) => access).filter(
    (access) =>
      !((access & ACCESS.write) !== 0 && (access & ACCESS.fetch) !== 0) && !(smep && (access & ACCESS.user) !== 0),
  );
}

/** Pairs for the cases of upper entries: no reserved bits, A and D clear. */
export function upperPairs(nxe: boolean): Int32Array {
  const ofPte = PTE.present | PTE.write;
  const ofPde = PDE.present | PDE.write | PDE.user | PDE.large | (nxe ? PDE.nx : 0);
  return entryPairs(nxe).filter((pair) => (pair & 255 & ~ofPte) === 0 && ((pair >> 8) & ~ofPde) === 0);
}

/** The sets of `UPPER` bits that the cases of upper entries have. */
const UPPER_SETS = [0, 1, 2, 4, 8, 12, 15];

/** Number of cases of upper entries under one setting. */
export function upperCasesPerSetting(setting: Setting): number {
  return upperPairs(setting.nxe).length * 4 * accessKinds(setting.smep).length * UPPER_SETS.length;
}

/** The case of upper entries with a number below `upperCasesPerSetting`, into `into`; `pairs` are `upperPairs`. */
export function upperCaseAt(pairs: Int32Array, accesses: readonly number[], index: number, into: Case): void {
  caseAt(pairs, accesses, Math.floor(index / UPPER_SETS.length), into);
  into.upper = UPPER_SETS[index % UPPER_SETS.length];
}

/** Number of cases under one setting, upper entries aside: as many as kvm-unit-tests' access test has. */
export function casesPerSetting(setting: Setting): number {
  return entryPairs(setting.nxe).length * 4 * accessKinds(setting.smep).length;
}

/** The case with a number below `casesPerSetting`, into `into`. */
export function caseAt(pairs: Int32Array, accesses: readonly number[], index: number, into: Case): void {
  const pair = pairs[index % pairs.length];
  const rest = Math.floor(index / pairs.length);
  into.pte = pair & 255;
  into.pde = pair >> 8;
  into.readOnlyPdpte = (rest & 1) !== 0;
  into.key = (rest & 2) !== 0;
  into.access = accesses[rest >> 2];
  into.upper = 0;
}

/** A case in words, to be read by people. */
export function describeCase(setting: Setting, each: Case): string {
  const words = (bits: number, names: Readonly<Record<string, number>>): string =>
    Object.entries(names)
      .filter(([, bit]) => (bits & bit) !== 0)
      .map(([name]) => name)
      .join(" ") || "none";
  const on = Object.entries({ ...setting }).filter(([, value]) => value === true);
  return [
    `CPU: ${[setting.vendor, ...on.map(([name]) => name)].join(" ")}`,
    `upper entries: ${words(each.upper, UPPER)}`,
    `PDPTE: ${each.readOnlyPdpte ? "read-only" : "writable"}`,
    `PDE: ${words(each.pde, PDE)}`,
    `PTE: ${words(each.pte, PTE)}`,
    `key: ${each.key ? 1 : 0}`,
    `access: ${words(each.access, ACCESS)}`,
  ].join("; ");
}

function ones(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++;
  return count;
}
