import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MUST_HIT } from "../../../arch/cpu/bulk-touch.ts";
import { type Cpu, type PageFault, PRESETS } from "../../../arch/index.ts";
import type { Access } from "../../../arch/isa/access.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { AddressSpaces } from "../../../src/references/address-spaces.ts";
import { BatchWriter } from "../../../src/references/batch-writer.ts";
import { LackeyLines } from "../../../src/references/lackey-lines.ts";
import { PageWindows } from "../../../src/references/page-windows.ts";
import { PlainLines } from "../../../src/references/plain-lines.ts";
import { ReferenceBatch } from "../../../src/references/reference-batch.ts";
import { RunReplay } from "../../../src/references/run-replay.ts";
import { hardwareState } from "../../arch/fast-path/compare.ts";
import type { Guest } from "../../arch/guest.ts";

const CODE = 0x40_0000;
const DATA = 0x7f00_0000_0000;
const KIND_FETCH = 2;

/** A program's references: stretches of one kind in one page, from few pages or from more than any TLB holds. */
const stretch = fc.tuple(fc.nat(2), fc.oneof(fc.nat(3), fc.nat(90), fc.nat(4000)), fc.integer({ min: 1, max: 6 }));
const program = fc.array(stretch, { minLength: 1, maxLength: 1500 }).map((stretches) =>
  stretches.flatMap(([kind, page, times]) =>
    Array.from({ length: times }, (_, i) => ({
      kind,
      // Every sixth page of code is one of data too.
      la: (kind === KIND_FETCH && page % 6 !== 0 ? CODE : DATA) + page * 4096 + ((i * 8) & 4095),
    })),
  ),
);
type Program = readonly { readonly kind: number; readonly la: number }[];

/** Batches of a program, as a parser writes them. */
function batchesOf(references: Program): ReferenceBatch[] {
  const batches: ReferenceBatch[] = [];
  const writer = new BatchWriter(new ReferenceBatch(), (batch) => {
    batches.push(batch);
    return new ReferenceBatch();
  });
  for (const { kind, la } of references) writer.put(kind, la, 1);
  writer.flush();
  return batches;
}

/** What a batch has to say of its runs: only references that follow two of their kind and page in their TLB may be left out. */
function expectRuns(batch: ReferenceBatch): void {
  const { kinds, addresses, length, runHeads, headIndexes, headKinds, headAddresses, repeats } = batch;
  const last = ["", ""];
  const later = [false, false];
  const left = [0, 0, 0];
  let head = 0;
  let instructions = 0;
  for (let i = 0; i < length; i++) {
    const kind = kinds[i] & 3;
    const tlb = kind >> 1;
    const page = `${kind} ${Math.floor(addresses[i] / 4096)}`;
    const isSame = page === last[tlb];
    if (kinds[i] === KIND_FETCH) instructions++;
    if (head < runHeads && headIndexes[head] === i) {
      expect(headAddresses[head]).toBe(addresses[i]);
      expect(headKinds[head] & 3).toBe(kind);
      const mustHit = (headKinds[head] & MUST_HIT) !== 0;
      if (mustHit) expect(isSame).toBe(true);
      head++;
      later[tlb] = mustHit;
    } else {
      expect(isSame && later[tlb]).toBe(true);
      left[kind]++;
    }
    last[tlb] = page;
  }
  expect(head).toBe(runHeads);
  expect([...repeats]).toEqual(left);
  expect(batch.instructions).toBe(instructions);
}

describe("runs of references to one page", () => {
  it("leave out what follows two of its kind and page in its TLB, and nothing else", () => {
    fc.assert(
      fc.property(program, (references) => batchesOf(references).forEach(expectRuns)),
      { numRuns: 20 },
    );
    const [batch] = batchesOf(Array.from({ length: 1000 }, (_, i) => ({ kind: i % 2 === 0 ? 2 : 0, la: DATA + i })));
    expect(batch.runHeads).toBe(4);
    expect([...batch.repeats]).toEqual([498, 0, 498]);
  });

  it.each([
    ["in WebAssembly", PlainLines.make],
    ["in JavaScript", () => null],
  ])("are found in lackey's lines %s, modifications and odd lines between them", (_, plain) => {
    const line = fc.tuple(fc.constantFrom("I ", "I ", "I ", " L", " S", " M"), fc.nat(3), fc.nat(4095), fc.nat(40));
    const text = fc
      .array(line, { minLength: 1, maxLength: 4000 })
      .map((lines) =>
        lines
          .map(
            ([kind, page, byte, odd]) => `${kind} ${(CODE + page * 4096 + byte).toString(16)},${odd === 0 ? 300 : 4}`,
          )
          .join("\n"),
      );
    fc.assert(
      fc.property(text, fc.integer({ min: 100, max: 60_000 }), (all, piece) => {
        const batches: ReferenceBatch[] = [];
        const writer = new BatchWriter(new ReferenceBatch(), (batch) => {
          batches.push(batch);
          return new ReferenceBatch();
        });
        const lines = new LackeyLines(writer, plain());
        const bytes = new TextEncoder().encode(`${all}\n`);
        for (let at = 0; at < bytes.length; at += piece) lines.feed(bytes.subarray(at, at + piece));
        lines.end();
        batches.forEach(expectRuns);
        const heads = batches.reduce((sum, { runHeads }) => sum + runHeads, 0);
        const references = batches.reduce((sum, { length }) => sum + length, 0);
        expect(references).toBeGreaterThanOrEqual(heads);
      }),
      { numRuns: 15 },
    );
  });
});

/** A machine with an address space that fills as it is touched. */
function makeProcess(preset: string, pages: string) {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 36, preset });
  const { cpu, space } = new AddressSpaces(kernel, pages).enter({ tid: 1, pid: 1, stream: 0 });
  return { kernel, cpu, faultIn: (la: number, kind: number) => space.paging.handleFault(la, (kind & 3) === 1) };
}

function touchOne(cpu: Cpu, kind: number, la: number, faultIn: (la: number, kind: number) => void): void {
  try {
    cpu.touchAs(kind as Access, la);
  } catch (error) {
    if ((error as PageFault).linearAddress === undefined) throw error;
    faultIn(la, kind);
    cpu.touchAs(kind as Access, la);
  }
}

const state = (cpu: Cpu, kernel: Kernel) => ({
  hardware: hardwareState({ cpu } as Guest),
  counters: cpu.counters(),
  cycles: kernel.machine.loop.clockCycles[0],
});

describe.each(PRESETS)("batches by their runs on $name", ({ name }) => {
  it.each(["4K", "2M", "1G", "thp=0.5"])("do what each reference by itself does, with pages %s", (pages) => {
    fc.assert(
      fc.property(program, (references) => {
        const byRuns = makeProcess(name, pages);
        const single = makeProcess(name, pages);
        for (const batch of batchesOf(references)) new RunReplay(byRuns.cpu, batch, byRuns.faultIn).run();
        for (const { kind, la } of references) touchOne(single.cpu, kind, la, single.faultIn);
        expect(state(byRuns.cpu, byRuns.kernel)).toEqual(state(single.cpu, single.kernel));
      }),
      { numRuns: 3 },
    );
  });
});

it("run heads are all that a window of the working set needs, also where a window ends in a batch", () => {
  fc.assert(
    fc.property(program, fc.integer({ min: 1, max: 20_000 }), (references, window) => {
      const [byBatch, single] = [new PageWindows(window), new PageWindows(window)];
      for (const batch of batchesOf(references)) byBatch.touchBatch(batch, 0);
      const addresses = Float64Array.from(references, ({ la }) => la);
      single.touch(addresses, 0, addresses.length, 0);
      expect([byBatch.pages, byBatch.windows()]).toEqual([single.pages, single.windows()]);
    }),
    { numRuns: 20 },
  );
});
