/** Spans without interrupts that are written down first, beside spans that are worked out at once. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LateSpans } from "../../../arch/time/late-spans.ts";
import { OffSpans } from "../../../arch/time/off-spans.ts";

const CPU = 3;
const RUN = 1;

/** What is said of a CPU whose clock a test keeps: a moment is a share of the time that is still asked for. */
const said = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("later" as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      cycles: fc.integer({ min: 1, max: 9 }),
      times: fc.oneof(fc.constant(1), fc.constant(2), fc.constant(50)),
    }),
    fc.record({ kind: fc.constant("off" as const), cycles: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ kind: fc.constant("forget" as const), share: fc.constantFrom(0.2, 0.9, 1) }),
  ),
  { minLength: 1, maxLength: 120 },
);

describe("spans of CPUs that are put later many times", () => {
  it("are, whenever somebody asks, what they are when each is worked out at once", () => {
    fc.assert(
      fc.property(said, fc.integer({ min: 1, max: 20 }), (changes, askedEvery) => {
        const spans = new LateSpans(8);
        const model = new OffSpans();
        let [clock, from] = [100, 0];
        changes.forEach((change, i) => {
          if (change.kind === "later") {
            const at = Math.floor(from + change.share * (clock - from));
            for (let times = change.times; times > 0; times--) {
              spans.insert(CPU, at, change.cycles, RUN);
              model.insert(at, change.cycles);
              clock += change.cycles;
            }
          } else if (change.kind === "off") {
            spans.of(CPU, RUN).add(clock, clock + change.cycles, false);
            model.add(clock, clock + change.cycles, false);
            clock += change.cycles;
          } else {
            from = Math.floor(from + change.share * (clock - from));
            spans.forgetBefore(CPU, from, clock);
            model.forgetBefore(from);
          }
          if (i % askedEvery > 0) return;
          for (let at = from; at <= clock; at++) expect(spans.of(CPU, RUN).takenAt(at)).toBe(model.takenAt(at));
        });
      }),
      { numRuns: 60 },
    );
  });

  it("are forgotten when another run begins, and are each CPU's own", () => {
    const spans = new LateSpans(8);
    spans.insert(CPU, 100, 50, RUN);
    expect([spans.of(CPU, RUN).takenAt(120), spans.of(CPU + 1, RUN).takenAt(120)]).toEqual([150, 120]);
    spans.insert(CPU, 200, 50, RUN + 1);
    expect([100, 210].map((at) => spans.of(CPU, RUN + 1).takenAt(at))).toEqual([100, 250]);
  });
});
