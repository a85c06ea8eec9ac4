/** Jumps in a long run: from machines that wait on the way, not from the boot, with the same state there as ever. */
import { describe, expect, it } from "vitest";
import { beginWorkload } from "../../../../src/view/model/begin.ts";
import { Answerer, pictureOf } from "../../../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO, type WorkloadScenario } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { workloadOf } from "../../../../src/workloads/base/checked-workload.ts";
import type { WorkloadThread } from "../../../../src/workloads/base/context.ts";

const SCENARIO: WorkloadScenario = { ...DEFAULT_SCENARIO, cpus: 2, operations: 6000, memoryMib: 256 };
/** Quick steps, of which each operation has a few. */
const WORKLOAD = workloadOf("churn", "churn", "churn", {
  *default(thread: WorkloadThread) {
    for (let i = 0; i < thread.operations; i++) yield* thread.vfree(yield* thread.vmalloc(4096 * (1 + (i % 3))));
  },
});
const opened = () => beginWorkload(SCENARIO, WORKLOAD);
const NOWHERE = { cpu: null, address: null };

/** A session that counts the steps that its machines make. */
function counted(bytesMax?: number) {
  const made = { steps: 0, machines: 0 };
  const opener = () => {
    made.machines++;
    const begun = opened();
    return {
      ...begun,
      step: () => {
        made.steps++;
        return begun.step();
      },
    };
  };
  return { session: new Session(SCENARIO, opener, bytesMax), made };
}

/** All that the page shows, but for how long the run is, which only one of them may know. */
const shown = (session: Session): string =>
  JSON.stringify({ ...pictureOf(session, NOWHERE), length: null, isOver: false });

describe("a jump far back or forth", () => {
  it("makes no more steps than between two machines that wait, and shows what a machine shows that was run to there", () => {
    const { session, made } = counted();
    session.runTo("end");
    const end = session.position;
    expect(end).toBeGreaterThan(10_000);
    while (session.prepare(() => false));
    const [begun, prepared] = [made.machines, made.steps];
    // Five parts or more, of 2000 steps at the least.
    expect(begun).toBeGreaterThan(5);
    const fresh = new Session(SCENARIO, opened);
    for (const share of [0.9, 0.2, 0.55, 0.05, 0.7]) {
      const before = made.steps;
      session.goTo(Math.round(share * end));
      expect(made.steps - before, `to ${share}`).toBeLessThan(0.45 * end);
    }
    expect(made.steps - prepared).toBeLessThan(1.2 * end);
    fresh.goTo(session.position);
    expect(shown(session) === shown(fresh)).toBe(true);
    // The machine that was left waits as well: back to it is no way at all.
    const before = made.steps;
    session.goTo(end);
    expect(made.steps - before).toBeLessThan(0.35 * end);
    expect(session.isOver).toBe(true);
    fresh.goTo(end);
    expect(shown(session) === shown(fresh)).toBe(true);
    expect(session.verify()).toEqual([]);
  }, 60_000);

  it("tells how far it is, and keeps no machine waiting that it has no room for", () => {
    const { session, made } = counted(0);
    const told: (readonly [number, number | null])[] = [];
    session.onProgress = (position, aim) => told.push([position, aim]);
    session.runTo("end");
    while (session.prepare(() => false));
    expect(made.machines).toBe(3);
    // Two machines ran: one to find the end, one to it.
    expect(told.some(([, aim]) => aim === null)).toBe(true);
    const to = Math.round(session.position / 2);
    told.length = 0;
    session.goTo(to);
    expect(told.map(([, aim]) => aim)).toEqual(told.map(() => to));
    expect(told.length).toBe(Math.floor(to / 1024));
    expect(made.machines).toBe(4);
  }, 60_000);

  it("can be left: the page shows the step that was reached, as a machine shows it that was run to there", async () => {
    const answerer = new Answerer();
    const scenario: WorkloadScenario = { ...DEFAULT_SCENARIO, operations: 200_000 };
    await answerer.answer({ kind: "open", scenario, position: 10 }, NOWHERE);
    const answered = answerer.answer({ kind: "go", position: 1e6 }, NOWHERE);
    setTimeout(() => answerer.stop(), 250);
    const left = await answered;
    if ("error" in left) throw new Error(left.error);
    const { position } = left.picture;
    expect(position).toBeGreaterThan(10);
    expect(position).toBeLessThan(200_000);
    const fresh = new Session(scenario);
    fresh.goTo(position);
    expect(JSON.stringify({ ...left.picture, length: null })).toBe(shown(fresh));
    // One goes on from there as from anywhere.
    const back = await answerer.answer({ kind: "go", position: 9 }, NOWHERE);
    expect("picture" in back && back.picture.position).toBe(9);
  }, 60_000);
});
