/** Random programs for a CPU: accesses, changes of the page tables, invalidations, changes of context. */
import fc from "fast-check";
import { CR4_PCIDE, CR4_PKE, PageFault, type Preset } from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";

export const TARGET = 2 ** 30;
/** Where the page with a number is: in two chunks of memory, one of them that of the page tables. */
const targetOf = (page: number): number => (page % 3 === 0 ? 2 ** 21 : TARGET) + page * 4096;

/** Where the pages with a number lie in the linear address space. */
export type Layout = (page: number) => number;
/** One after the other: two page tables. */
export const close: Layout = (page) => BASE + page * 4096;
/** 32 to a page table, four page tables to a page directory, so that most PDEs, and many PDPTEs, are not cached. */
export const spread: Layout = (page) =>
  BASE + (page >> 7) * 2 ** 30 + ((page >> 5) & 3) * 11 * 2 ** 21 + (page & 31) * 4096;

/** What somebody does to a CPU: an access, or something that changes what accesses find. */
export type Step =
  | {
      readonly do: "access";
      readonly kind: number;
      readonly page: number;
      readonly far: boolean;
      readonly user: boolean;
    }
  | {
      readonly do: "run";
      readonly first: number;
      readonly count: number;
      readonly stride: number;
      readonly store: boolean;
    }
  | {
      readonly do: "map";
      readonly page: number;
      readonly far: boolean;
      readonly bits: number;
      readonly level: number;
      readonly key: number;
    }
  | {
      readonly do: "run large";
      readonly size: 1 | 2;
      readonly first: number;
      readonly count: number;
      readonly stride: number;
      readonly kind: number;
      readonly user: boolean;
    }
  | { readonly do: "invlpg large"; readonly size: 1 | 2; readonly page: number }
  | { readonly do: "directory"; readonly page: number; readonly level: number; readonly bits: bigint }
  | { readonly do: "invlpg"; readonly page: number }
  | { readonly do: "flush"; readonly type: number }
  | { readonly do: "switch"; readonly pcid: number; readonly keep: boolean }
  | { readonly do: "pkru"; readonly value: number };

const page = fc.nat(700);
/** Whether a step is about the page of 2 MiB that lies so far from the small pages, or about these. */
const far = fc.boolean();
export const FAR = 2 ** 36;
export const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("access" as const), kind: fc.nat(2), page, far, user: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("run" as const),
      first: page,
      count: fc.integer({ min: 1, max: 300 }),
      stride: fc.constantFrom(1, 1, 3, 16, 128),
      store: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("run large" as const),
      size: fc.constantFrom(1 as const, 2 as const),
      first: page,
      count: fc.integer({ min: 1, max: 80 }),
      stride: fc.constantFrom(0, 1, 1, 3, 8),
      kind: fc.nat(2),
      user: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("invlpg large" as const),
      size: fc.constantFrom(1 as const, 2 as const),
      page,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("map" as const),
      page,
      far,
      bits: fc.constantFrom(ALL, ALL | GLOBAL, ALL | 0x60, ALL | GLOBAL | 0x60, ALL & ~2, ALL & ~4, 0, ALL | 0x20),
      level: fc.constantFrom(1, 1, 1, 2),
      key: fc.nat(2),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("directory" as const),
      page,
      level: fc.constantFrom(2, 2, 3),
      bits: fc.constantFrom(7n, 0x27n, 5n, 3n, 0x25n, 0x23n, 0x27n | (1n << 63n), 6n, 0xa7n),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("invlpg" as const), page }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), type: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("switch" as const), pcid: fc.nat(5), keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("pkru" as const), value: fc.constantFrom(0, 4, 8, 12) }) },
);

/** Where larger pages lie one after the other: 256 of 2 MiB in three page directories, and 80 of 1 GiB. */
const MANY_LARGE = BASE + 2 ** 40 + 2 ** 29;
const MANY_HUGE = BASE + 2 ** 41 - 30 * 2 ** 30;
/** The first address of the larger page with a number. */
function largeBaseOf(size: 1 | 2, number: number): number {
  return size === 1 ? MANY_LARGE + (number % 256) * 2 ** 21 : MANY_HUGE + (number % 80) * 2 ** 30;
}

/** An address in the larger page with a number, another 4 KiB page of it for another number; in one of 1 GiB, perhaps in another 2 MiB. */
function largeLaOf(size: 1 | 2, number: number): number {
  const part = size === 1 ? 0 : ((number + (number >> 8)) & 7) * 61;
  return largeBaseOf(size, number) + part * 2 ** 21 + (number & 15) * 4096;
}

/** A guest whose first 1024 pages are mapped, half of them with A and D set, some global. */
export function makeGuest(
  preset: string | Preset,
  laOf = close,
  pagingLevels: 4 | 5 = 4,
  cpus = 1,
  physicalCpus = cpus,
): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 31, pagingLevels, cpus, physicalCpus }, cpus - 1);
  for (let i = 0; i < 1024; i++) {
    guest.map(laOf(i), targetOf(i), ALL | (i % 2 === 0 ? 0x60 : 0) | (i % 3 === 0 ? GLOBAL : 0));
    guest.mark(targetOf(i), i);
    const large = laOf(i) - (laOf(i) % 2 ** 21) + FAR;
    guest.map(large, TARGET + (i & 3) * 2 ** 21, ALL | 0x60 | (i & 64 ? GLOBAL : 0), 2);
  }
  const attributesOf = (i: number) => (i % 5 === 0 ? ALL : ALL | 0x60) | (i & 16 ? GLOBAL : 0);
  for (let i = 0; i < 256; i++) guest.map(largeBaseOf(1, i), TARGET + (i & 7) * 2 ** 21, attributesOf(i), 2);
  for (let i = 0; i < 80; i++) guest.map(largeBaseOf(2, i), TARGET, attributesOf(i), 3);
  for (let i = 0; i < 256; i++) {
    guest.write(largeLaOf(1, i), 3, guest.read(largeLaOf(1, i), 3) | 0x20n);
    guest.write(largeLaOf(2, i), 4, guest.read(largeLaOf(2, i), 4) | 0x20n);
  }
  const { cpu } = guest;
  if (guest.machine.features.pcid) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
  if (guest.machine.features.pku) cpu.writeCr4(cpu.cr4 + CR4_PKE);
  return guest;
}

export function access(guest: Guest, kind: number, la: number): string {
  const { cpu } = guest;
  try {
    if (kind === 0) return `${cpu.load(la, 4)}`;
    if (kind === 1) {
      cpu.store(la + 8, 4, la % 997);
      cpu.store(la + 14, 1, la % 251);
      return "stored";
    }
    return `${cpu.fetch(la, 4)} ${cpu.load(la + 8, 4)} ${cpu.load(la + 14, 2)}`;
  } catch (error) {
    if (error instanceof PageFault) return error.message;
    throw error;
  }
}

/** Carries a step out; what a program could see of it. */
export function carryOut(guest: Guest, step: Step, laOf: Layout): string {
  const { cpu } = guest;
  switch (step.do) {
    case "access": {
      cpu.setCpl(step.user ? 3 : 0);
      const seen = access(guest, step.kind, laOf(step.page) + (step.far ? FAR : 0));
      cpu.setCpl(0);
      return seen;
    }
    case "run": {
      const seen: string[] = [];
      for (let i = 0; i < step.count; i++) {
        seen.push(access(guest, step.store ? 1 : 0, laOf((step.first + i * step.stride) % 1024)));
      }
      return seen.join(",");
    }
    case "run large": {
      const seen: string[] = [];
      cpu.setCpl(step.user ? 3 : 0);
      for (let i = 0; i < step.count; i++) {
        seen.push(access(guest, step.kind, largeLaOf(step.size, step.first + i * step.stride)));
      }
      cpu.setCpl(0);
      return seen.join(",");
    }
    case "invlpg large":
      cpu.invlpg(largeLaOf(step.size, step.page));
      return "";
    case "map": {
      const la = laOf(step.page);
      const size = step.level === 2 ? 2 ** 21 : 4096;
      const at = (step.level === 2 ? la - (la % size) : la) + (step.level === 2 && step.far ? FAR : 0);
      guest.write(
        at,
        step.level,
        BigInt(TARGET + (step.level === 2 ? 0x80 : 0) + step.bits) | (BigInt(step.key) << 59n),
      );
      return "";
    }
    case "directory": {
      const entry = guest.read(laOf(step.page), step.level);
      guest.write(laOf(step.page), step.level, (entry & 0xf_ffff_ffff_f000n) | step.bits);
      return "";
    }
    case "invlpg":
      cpu.invlpg(laOf(step.page));
      return "";
    case "flush":
      if (guest.machine.features.invpcid) cpu.invpcid(step.type, 0, BASE);
      else cpu.flushTlbAll();
      return "";
    case "switch":
      if (guest.machine.features.pcid) cpu.writeCr3(guest.root * 4096 + step.pcid, step.keep);
      else cpu.writeCr3(guest.root * 4096);
      return "";
    case "pkru":
      if (guest.machine.features.pku) cpu.writePkru(step.value);
      return "";
  }
}
