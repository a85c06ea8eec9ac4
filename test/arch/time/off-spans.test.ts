/** Times in which a CPU took no interrupts, beside a list that says it moment by moment. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OffSpans } from "../../../arch/time/off-spans.ts";
import { PendingInterrupts } from "../../../arch/time/pending-interrupts.ts";

/** A span that ends `later` after all so far and begins up to `back` before its end; or all after a moment `share` of the way is `cycles` later. */
const changes = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("add" as const),
      later: fc.nat(12),
      back: fc.integer({ min: 1, max: 40 }),
      includesBegin: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("insert" as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      cycles: fc.integer({ min: 1, max: 9 }),
    }),
  ),
  { minLength: 1, maxLength: 40 },
);

describe("spans in which a CPU takes no interrupts", () => {
  it("are the moments that were said, put later by all that came before them", () => {
    fc.assert(
      fc.property(changes, (all) => {
        const spans = new OffSpans();
        const isOff: boolean[] = Array.from({ length: 50 }, () => false);
        for (const change of all) {
          if (change.kind === "add") {
            const end = isOff.length + change.later;
            const begin = end - change.back;
            spans.add(begin, end, change.includesBegin);
            while (isOff.length < end) isOff.push(false);
            isOff.fill(true, change.includesBegin ? begin : begin + 1, end);
          } else {
            const from = Math.floor(change.share * isOff.length);
            spans.insert(from, change.cycles);
            isOff.splice(from, 0, ...Array.from({ length: change.cycles }, () => true));
          }
        }
        isOff.forEach((_, at) => {
          const taken = isOff.indexOf(false, at);
          expect(spans.takenAt(at)).toBe(taken < 0 ? isOff.length : taken);
        });
      }),
    );
  });

  it("stay one span, however often the CPU comes later from the same time on", () => {
    const spans = new OffSpans();
    spans.add(100, 200, false);
    for (let i = 0; i < 1000; i++) spans.insert(100, 3);
    expect(spans.length).toBe(2);
    expect(spans.takenAt(100)).toBe(3100);
    expect(spans.takenAt(3101)).toBe(3200);
  });

  it("end later when the CPU is put behind within one", () => {
    const spans = new OffSpans();
    spans.add(100, 200, false);
    spans.insert(150, 30);
    expect(spans.takenAt(120)).toBe(230);
  });

  it("are forgotten once nothing can come before their end", () => {
    const spans = new OffSpans();
    spans.add(100, 200, false);
    spans.add(300, 400, true);
    spans.forgetBefore(200);
    expect([spans.length, spans.takenAt(150), spans.takenAt(300)]).toEqual([1, 150, 400]);
  });
});

describe("an interrupt's handler", () => {
  it("whose code has interrupts off anyway puts off what arrives within it, and nothing after its end", () => {
    const interrupts = new PendingInterrupts(1);
    interrupts.beginRun();
    interrupts.handles(0);
    interrupts.wereOff(0, 120, 180);
    interrupts.handled(0, 100, 100, false);
    expect(interrupts.takenAt(0, 150)).toBe(200);
    expect(interrupts.takenAt(0, 250)).toBe(250);
  });
});
