import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LockClass } from "../../../mm/kernel/lock-stat.ts";

interface Event {
  readonly kind: "taken" | "held" | "waited";
  readonly cycles: number;
  readonly bounced: boolean;
}

describe("the statistics of a class of locks", () => {
  it("are counts, totals, least, most and means of what its locks did", () => {
    const event = fc.record({
      kind: fc.constantFrom("taken" as const, "held" as const, "waited" as const),
      cycles: fc.integer({ min: 0, max: 10_000 }),
      bounced: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events: Event[]) => {
        const lockClass = new LockClass("a lock");
        for (const { kind, cycles, bounced } of events) {
          if (kind === "taken") {
            lockClass.taken();
            if (bounced) lockClass.bounced();
          } else if (kind === "held") lockClass.held(cycles);
          else lockClass.waited(cycles, bounced);
        }
        const of = (kind: Event["kind"]): Event[] => events.filter((each) => each.kind === kind);
        const cyclesOf = (kind: Event["kind"]): number[] => of(kind).map(({ cycles }) => cycles);
        const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
        const [taken, held, waited] = [of("taken").length, cyclesOf("held"), cyclesOf("waited")];
        expect(lockClass.snapshot()).toEqual({
          name: "a lock",
          contentions: waited.length,
          contentionBounces: of("waited").filter(({ bounced }) => bounced).length,
          waitMinCycles: waited.length === 0 ? 0 : Math.min(...waited),
          waitMaxCycles: Math.max(0, ...waited),
          waitTotalCycles: sum(waited),
          waitAverageCycles: waited.length === 0 ? 0 : sum(waited) / waited.length,
          acquisitions: taken,
          acquisitionBounces: of("taken").filter(({ bounced }) => bounced).length,
          holdMinCycles: taken === 0 ? 0 : held.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...held),
          holdMaxCycles: Math.max(0, ...held),
          holdTotalCycles: sum(held),
          holdAverageCycles: taken === 0 ? 0 : sum(held) / taken,
        });
      }),
    );
  });
});
