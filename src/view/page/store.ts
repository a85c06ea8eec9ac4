/** The page's state, and the only ways to change it. */
import { signal } from "@preact/signals";
import { formatLink, parseLink } from "../model/link.ts";
import type { Answer, Focus, Move, Picture } from "../model/picture.ts";
import { DEFAULT_SCENARIO, type Scenario } from "../model/scenario.ts";

/** The machine as it is shown; null before the first answer. */
export const picture = signal<Picture | null>(null);
/** The picture before the last move, to mark what is new; null when the machine is another one. */
export const before = signal<Picture | null>(null);
/** Why the last move was not possible; empty when it was. */
export const problem = signal("");
/** Whether an answer is awaited. */
export const busy = signal(false);
/** What one looks at. */
const focus = signal<Focus>({ cpu: null, address: null });

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let asked = 0;

worker.addEventListener("message", ({ data }: MessageEvent<{ readonly id: number; readonly answer: Answer }>) => {
  if (data.id !== asked) return;
  busy.value = false;
  if ("error" in data.answer) {
    problem.value = data.answer.error;
    return;
  }
  const was = picture.value;
  const now = data.answer.picture;
  problem.value = "";
  if (was?.position !== now.position || !sameScenario(was.scenario, now.scenario)) {
    before.value = was !== null && sameScenario(was.scenario, now.scenario) ? was : null;
  }
  picture.value = now;
  history.replaceState(null, "", `#${formatLink({ ...now, focus: focus.value })}`);
});
worker.addEventListener("error", ({ message }) => {
  busy.value = false;
  problem.value = `the emulator failed (a bug): ${message}`;
});

function sameScenario(a: Scenario, b: Scenario): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Moves the session; the answer comes later, and answers that were overtaken are not shown. */
export function move(what: Move): void {
  // A story looks where its step wants one to look; a workload's focus stays.
  if (what.kind !== "look" && picture.value?.scenario.kind === "story") focus.value = { cpu: null, address: null };
  ask(what);
}

/** Opens a scenario at its begin. */
export function open(scenario: Scenario): void {
  focus.value = { cpu: null, address: null };
  ask({ kind: "open", scenario, position: 0 });
}

/** Looks at another CPU or address. */
export function look(change: Partial<Focus>): void {
  focus.value = { ...focus.value, ...change };
  ask({ kind: "look" });
}

/** Opens what the page's address says, or the first story. */
export function openLink(): void {
  const place = parseLink(location.hash);
  focus.value = place?.focus ?? { cpu: null, address: null };
  const first: Scenario = { kind: "story", name: "stale-entry" };
  ask({ kind: "open", scenario: place?.scenario ?? first, position: place?.position ?? 0 });
}

/** A workload's scenario to begin with. */
export function workloadScenario(name: string): Scenario {
  return { ...DEFAULT_SCENARIO, name };
}

function ask(what: Move): void {
  busy.value = true;
  worker.postMessage({ id: ++asked, move: what, focus: focus.value });
}
