import { describe, expect, it } from "vitest";
import type { PointObserver } from "../../../../src/experiments/base/points.ts";
import { EXPERIMENTS } from "../../../../src/experiments/index.ts";
import { KERNEL_EXPERIMENTS } from "../../../../src/experiments/kernel-experiments.ts";
import { runExperiment } from "../../../../src/experiments/run-experiment.ts";
import type { Kernel } from "../../../../src/machine/kernel.ts";
import { openPoint } from "../../../../src/view/model/experiment-point.ts";
import { formatLink, parseLink } from "../../../../src/view/model/link.ts";
import { Answerer, pictureOf } from "../../../../src/view/model/picture.ts";
import type { PointScenario } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { Tracks } from "../../../../src/view/model/tracks.ts";
import { SKYLAKE, TINY } from "../../experiments/small-runs.ts";

const NO_FOCUS = { cpu: null, address: null };
/** Those whose machines have no kernel: nothing of Linux could be shown. */
const WITHOUT_KERNEL = ["page-tables", "walk-overlap", "tlb-curves", "nested-walk", "fracture"];
const SHOWN = KERNEL_EXPERIMENTS.filter(({ name }) => !WITHOUT_KERNEL.includes(name));

function plain(name: string, observer: Partial<PointObserver> & { onKernel?: (kernel: Kernel) => void } = {}) {
  const experiment = KERNEL_EXPERIMENTS.find((each) => each.name === name);
  if (experiment === undefined) throw new Error(`no experiment ${name}`);
  return runExperiment(experiment, SKYLAKE, 1, TINY[name] ?? {}, {
    onProgress: () => {},
    onKernel: observer.onKernel ?? (() => {}),
    onPoint: { wants: () => true, begins: () => {}, ends: () => {}, ...observer },
  });
}

/** The points of all rows, each once. */
function pointsOf(name: string): string[] {
  return [...new Set(plain(name).tables.flatMap(({ points }) => (points ?? []).flatMap((point) => point ?? [])))];
}

function scenarioOf(name: string, point: string): PointScenario {
  const parameters = Object.entries(TINY[name] ?? {}).map(([key, value]) => `${key}=${value}`);
  return { kind: "experiment", name, point, seed: 1, preset: "skylake", parameters, settings: {} };
}

/** All that the page shows of a session, but for what is not the machine's. */
const shown = (session: Session): string => JSON.stringify(pictureOf(session, NO_FOCUS));

describe("experiments", () => {
  it("are all shown but those that read files or have no kernel", () => {
    expect(EXPERIMENTS.map(({ name }) => name).filter((name) => !SHOWN.some((each) => each.name === name))).toEqual([
      "page-tables",
      "walk-overlap",
      "tlb-curves",
      "nested-walk",
      "fracture",
      "kernel-diff",
    ]);
  });

  it.each(SHOWN.map(({ name }) => name))("%s: every row has a point whose link opens at its begin", (name) => {
    const result = plain(name);
    const first = result.tables[0];
    expect(first.points).toHaveLength(first.rows.length);
    expect(first.points).not.toContain(null);
    const points = pointsOf(name);
    expect(points.length).toBeGreaterThan(0);
    for (const point of new Set([points[0], points[points.length - 1]])) {
      const scenario = scenarioOf(name, point);
      const place = parseLink(formatLink({ scenario, position: 0, focus: NO_FOCUS }));
      expect(place?.scenario).toEqual(scenario);
      const session = new Session(scenario, openPoint(scenario));
      expect(session.position).toBe(0);
      const before = shown(session);
      for (let i = 1; i <= 3; i++) {
        session.forward("step");
        expect(session.position, `${name} ${point}`).toBe(i);
      }
      expect(shown(session)).not.toBe(before);
      session.goTo(0);
      expect(shown(session)).toBe(before);
    }
  });

  it.each(SHOWN.map(({ name }) => name))("%s measures the same when it is watched, or only one point is", (name) => {
    const watched = plain(name, { onKernel: (kernel) => new Tracks(kernel) });
    const result = plain(name);
    expect(watched.tables).toEqual(result.tables);
    const [point] = pointsOf(name);
    const [outer] = point.split(".");
    const clocks: number[] = [];
    let machine: Kernel | null = null;
    plain(name, {
      onKernel: (kernel) => {
        machine ??= kernel;
      },
      ends: () => {
        if (clocks.length === 0 && machine !== null) clocks.push(...machine.machine.loop.clockCycles);
      },
    });
    // The first point, in a run of its own, ends when it ended there, step by step.
    const session = new Session(scenarioOf(name, outer), openPoint(scenarioOf(name, outer)));
    session.runTo("end");
    expect(session.isOver).toBe(true);
    expect([...session.kernel.machine.loop.clockCycles]).toEqual(clocks);
  });
});

describe("a point", () => {
  const scenario = scenarioOf("user-flush", "0.0");
  const open = () => new Session(scenario, openPoint(scenario));

  it("shows the same at a step, whichever way one goes, and among those that are not kept as well", () => {
    const session = open();
    session.runTo("end");
    const end = session.position;
    expect(end).toBeGreaterThan(10);
    for (const position of [end, 0, Math.floor(end / 2), end - 1, 3]) {
      session.goTo(position);
      expect(session.position).toBe(position);
      const other = open();
      other.goTo(position);
      expect(JSON.stringify(pictureOf(session, NO_FOCUS).walk)).toBe(JSON.stringify(pictureOf(other, NO_FOCUS).walk));
      expect(pictureOf(session, NO_FOCUS).clockCycles).toEqual(pictureOf(other, NO_FOCUS).clockCycles);
      expect(pictureOf(session, NO_FOCUS).events).toEqual(pictureOf(other, NO_FOCUS).events);
    }
  });

  it("goes on by events and to breakpoints, and back", () => {
    const other = scenarioOf("lazy-threshold", "0");
    const session = new Session(other, openPoint(other));
    session.forward("event");
    expect(session.tracks.events.items.at(-1)?.position).toBe(session.position);
    session.runTo("purge");
    expect(session.stoppedAt).toMatch(/^CPU 0: purge /);
    const at = session.position;
    session.back("step");
    expect(session.position).toBe(at - 1);
    session.forward("step");
    session.runTo("end");
    expect([session.isOver, session.stoppedAt]).toEqual([true, null]);
  });

  it.each([
    [{ name: "flush-costs" }, "unknown experiment 'flush-costs' (did you mean flush-cost?); there are flush-cost, "],
    [{ point: "99" }, "expected a point of user-flush that has a machine with a kernel"],
    [{ parameters: ["cpu=1"] }, "unknown parameter 'cpu'"],
    [{ preset: "skylak" }, "unknown preset 'skylak'"],
    [{ parameters: ["cpus=128", "pages=1", "rounds=1"], point: "0.0" }, "at most 64 CPUs"],
  ])("is refused in one line when a link is wrong: %o", async (change, line) => {
    const answer = await new Answerer().answer(
      { kind: "open", scenario: { ...scenario, ...change }, position: 0 },
      NO_FOCUS,
    );
    expect(answer).toHaveProperty("error");
    expect("error" in answer ? answer.error : "").toContain(line);
  });
});
