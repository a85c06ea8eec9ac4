/** Random programs on addresses that are pages of 4 KiB, of 2 MiB or part of one of 1 GiB by turns, with the same frames: flushed, or stale. */
import fc from "fast-check";
import { CR4_PCIDE, type Preset } from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";
import { access, TARGET } from "./programs.ts";

/** Two pages of 1 GiB one after the other. */
const FIRST = BASE + 2 ** 42;
const GIGABYTES = 2;
/** Pages of 2 MiB of each that may be 512 of 4 KiB. */
const SPLIT = 3;
const BYTES = [4096, 2 ** 21, 2 ** 30] as const;

/** What somebody does to such addresses. */
export type MixedStep =
  | {
      /** Makes a page of 2 MiB, or of 1 GiB, whole or splits it, with INVLPG of one address in it or without. */
      readonly do: "shape";
      readonly size: 1 | 2;
      readonly number: number;
      readonly isWhole: boolean;
      readonly invlpg: number | null;
    }
  | {
      /** Accesses to addresses a page of some size apart, again and again. */
      readonly do: "loop";
      readonly first: number;
      readonly count: number;
      readonly size: 0 | 1 | 2;
      readonly kind: number;
      readonly rounds: number;
    }
  | { readonly do: "invlpg"; readonly offset: number }
  | { readonly do: "flush"; readonly type: number }
  | { readonly do: "switch"; readonly pcid: number; readonly keep: boolean };

/** An address in the first pages: of one of few pages of 4 KiB and 2 MiB. */
const offset = fc
  .tuple(fc.nat(GIGABYTES - 1), fc.nat(SPLIT), fc.constantFrom(0, 1, 2, 5, 16, 17, 400))
  .map(([gigabyte, large, small]) => gigabyte * BYTES[2] + large * BYTES[1] + small * BYTES[0]);

/** The steps; some are loops long enough for TLBs without flushes to be told of uses later, or to be in step again. */
export const mixedSteps: fc.Arbitrary<MixedStep> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("loop" as const),
      first: offset,
      count: fc.constantFrom(1, 2, 3, 8, 30, 90, 200),
      size: fc.constantFrom(0 as const, 1 as const, 1 as const, 2 as const),
      kind: fc.constantFrom(0, 0, 0, 1, 2),
      rounds: fc.constantFrom(1, 1, 2, 20, 70),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("shape" as const),
      size: fc.constantFrom(1 as const, 1 as const, 2 as const),
      number: fc.nat(GIGABYTES * SPLIT - 1),
      isWhole: fc.boolean(),
      invlpg: fc.option(offset),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("invlpg" as const), offset }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), type: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("switch" as const), pcid: fc.nat(2), keep: fc.boolean() }) },
);

/** Whether a step is an invalidation, or has one. */
export function isInvalidation(step: MixedStep): boolean {
  return step.do !== "loop" && (step.do !== "shape" || step.invlpg !== null);
}

/** A guest with the tables of these addresses, all whole; every second page of each size is global. */
export class MixedGuest extends Guest {
  private readonly entries = new Map<string, readonly [whole: bigint, split: bigint]>();

  constructor(preset: string | Preset) {
    super({ preset, memoryBytes: 2 ** 31 });
    for (let number = 0; number < GIGABYTES; number++) {
      this.prepare(2, number, 512);
      for (let i = 0; i < SPLIT; i++) this.prepare(1, number * 512 + i, 512);
    }
    for (let number = GIGABYTES; number < 12; number++) this.map(FIRST + number * BYTES[2], TARGET, bitsOf(number), 3);
    if (this.machine.features.pcid) this.cpu.writeCr4(this.cpu.cr4 + CR4_PCIDE);
  }

  /** Makes a page whole or splits it. @param number which of those that may be both */
  shape(size: 1 | 2, number: number, isWhole: boolean): void {
    const at = size === 2 ? number % GIGABYTES : (number % GIGABYTES) * 512 + Math.floor(number / GIGABYTES);
    // Where a page of 1 GiB is whole there is no entry for the ones of 2 MiB.
    if (size === 1) this.shape(2, number, false);
    const [whole, split] = this.entries.get(`${size} ${at}`) as readonly [bigint, bigint];
    this.write(FIRST + at * BYTES[size], size + 1, isWhole ? whole : split);
  }

  /** Has a page of a size be made of smaller ones. */
  private prepare(size: 1 | 2, number: number, parts: number): void {
    const la = FIRST + number * BYTES[size];
    const frameOf = (at: number) => TARGET + (at % BYTES[2]);
    for (let i = 0; i < parts; i++) {
      const part = number * BYTES[size] + i * BYTES[size - 1];
      this.map(FIRST + part, frameOf(part), bitsOf(i), size);
    }
    const split = this.read(la, size + 1) | 0x20n;
    this.write(la, size + 1, split);
    const whole = BigInt(frameOf(number * BYTES[size])) | BigInt(bitsOf(number) | 0x80);
    this.entries.set(`${size} ${number}`, [whole, split]);
  }
}

function bitsOf(number: number): number {
  return ALL | 0x60 | (number % 2 === 0 ? GLOBAL : 0);
}

/** Carries a step out; what a program could see of it. */
export function carryOutMixed(guest: MixedGuest, step: MixedStep): string {
  const { cpu } = guest;
  const { features } = guest.machine;
  switch (step.do) {
    case "shape":
      guest.shape(step.size, step.number, step.isWhole);
      if (step.invlpg !== null) cpu.invlpg(FIRST + step.invlpg);
      return "";
    case "loop": {
      const seen: string[] = [];
      for (let round = 0; round < step.rounds; round++) {
        for (let i = 0; i < step.count; i++) {
          const end = (step.size === 2 ? 12 : 1) * BYTES[2];
          const at = (step.first + i * BYTES[step.size]) % end;
          const seenHere = access(guest, step.kind, FIRST + at);
          if (round === 0) seen.push(seenHere);
        }
      }
      return seen.join(",");
    }
    case "invlpg":
      cpu.invlpg(FIRST + step.offset);
      return "";
    case "flush":
      if (features.invpcid) cpu.invpcid(step.type, 0, FIRST);
      else cpu.flushTlbAll();
      return "";
    case "switch":
      cpu.writeCr3(guest.root * 4096 + (features.pcid ? step.pcid : 0), features.pcid && step.keep);
      return "";
  }
}
