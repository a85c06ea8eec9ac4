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

/** Settings of the CPU. */
export interface Setting {
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
}

/** All settings: with `smep` false 20, with true 20. PKRU bits only with CR4.PKE = 1. */
export function allSettings(smep: boolean): Setting[] {
  const settings: Setting[] = [];
  for (const nxe of [false, true]) {
    for (const writeProtect of [false, true]) {
      for (const keys of [0, 4, 5, 6, 7]) {
        settings.push({
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

/** Number of cases under one setting. */
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
}

/** A case in words, to be read by people. */
export function describeCase(setting: Setting, each: Case): string {
  const words = (bits: number, names: Readonly<Record<string, number>>): string =>
    Object.entries(names)
      .filter(([, bit]) => (bits & bit) !== 0)
      .map(([name]) => name)
      .join(" ") || "none";
  const on = Object.entries({ ...setting }).filter(([, value]) => value);
  return [
    `CPU: ${on.map(([name]) => name).join(" ") || "none"}`,
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
