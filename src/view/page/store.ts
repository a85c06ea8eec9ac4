/** The page's state, and the only ways to change it. */
import { signal } from "@preact/signals";
import type { ExportKind } from "../model/export-files.ts";
import type { PresetFile } from "../model/figures.ts";
import { formatLink, parseLink } from "../model/link.ts";
import type { Answer, Focus, Move, Picture } from "../model/picture.ts";
import { DEFAULT_SCENARIO, type Scenario, SOURCE_NAME, type WorkloadScenario } from "../model/scenario.ts";
import type { Completions } from "./own-source.ts";
import type { Progress } from "./worker.ts";

/** Bytes of a file at the most. */
const FILE_BYTES_MAX = 2 ** 26;

/** What the worker says. */
type WorkerMessage =
  | { readonly id: number; readonly answer: Answer }
  | { readonly completions: Completions }
  | { readonly progress: Progress }
  | { readonly exported: { readonly bytes: Uint8Array } | { readonly error: string }; readonly kind: ExportKind };

/** The machine as it is shown; null before the first answer. */
export const picture = signal<Picture | null>(null);
/** The picture before the last move, to mark what is new; null when the machine is another one. */
export const before = signal<Picture | null>(null);
/** Why the last move was not possible; empty when it was. */
export const problem = signal("");
/** Whether the editor for code of one's own is open. */
export const editing = signal(false);
/** Whether an answer is awaited. */
export const busy = signal(false);
/** What one looks at. */
export const focus = signal<Focus>({ cpu: null, address: null });

/** How far the move is whose answer is awaited; null when nothing is known of it. */
export const progress = signal<Progress | null>(null);
/** Whether the answer takes so long that one may want to stop. */
export const isSlow = signal(false);
/** Names that the editor completes; null before the first time that they were asked for. */
export const completions = signal<Completions | null>(null);

/** Milliseconds after which an answer is slow. */
const SLOW_MS = 2000;

let worker = startWorker();
let asked = 0;
let slowTimer = 0;
/** What is in the file that was opened last; the worker has it as well, unless it was stopped. */
let file: { readonly name: string; readonly bytes: Uint8Array } | null = null;
/** The file of a preset that the page was served with. */
let presetFile: PresetFile | undefined;

function startWorker(): Worker {
  const started = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  started.addEventListener("message", ({ data }: MessageEvent<WorkerMessage>) => {
    if ("completions" in data) completions.value = data.completions;
    else if ("progress" in data) progress.value = busy.value ? data.progress : null;
    else if ("exported" in data) saveExported(data.exported, data.kind);
    else if (data.id === asked) show(data.answer);
  });
  started.addEventListener("error", ({ message }) => {
    settle();
    problem.value = `the emulator failed (a bug): ${message}`;
  });
  return started;
}

function settle(): void {
  clearTimeout(slowTimer);
  busy.value = false;
  isSlow.value = false;
  progress.value = null;
}

/** Milliseconds in which the worker stops a long move: more than a thousand steps take. */
const STOP_MS = 3000;

/** Stops a long move: the page shows the step that was reached. Where the worker does not answer, it is ended. */
export function stop(): void {
  const awaited = asked;
  worker.postMessage("stop");
  setTimeout(() => {
    if (busy.value && asked === awaited) end();
  }, STOP_MS);
}

/** Ends the worker, whose work may have no end. Its machine is lost. */
function end(): void {
  worker.terminate();
  settle();
  asked++;
  problem.value = "stopped; a step or a change of the scenario begins anew";
  worker = startWorker();
  isGone = picture.value !== null;
}

/** Whether the worker has lost the machine that is shown. */
let isGone = false;

function show(answer: Answer): void {
  settle();
  if ("error" in answer) {
    problem.value = answer.error;
    return;
  }
  const was = picture.value;
  const now = answer.picture;
  problem.value = "";
  if (was?.position !== now.position || !sameScenario(was.scenario, now.scenario)) {
    before.value = was !== null && sameScenario(was.scenario, now.scenario) ? was : null;
  }
  picture.value = now;
  history.replaceState(null, "", `#${formatLink({ ...now, focus: focus.value })}`);
}

function sameScenario(a: Scenario, b: Scenario): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Moves the session; the answer comes later, and answers that were overtaken are not shown. */
export function move(what: Move): void {
  // A story looks where its step wants one to look; a workload's focus stays.
  if (what.kind !== "look" && picture.value?.scenario.kind === "story") {
    focus.value = { ...focus.value, cpu: null, address: null };
  }
  const shown = picture.value;
  if (isGone && shown !== null) openAt(shown.scenario, 0);
  else ask(what);
}

/** Opens a scenario at its begin. */
export function open(scenario: Scenario): void {
  focus.value = { cpu: null, address: null };
  openAt(scenario, 0);
}

function openAt(scenario: Scenario, position: number): void {
  isGone = false;
  const bytes = scenario.kind === "file" && file?.name === scenario.name ? file.bytes : undefined;
  ask({ kind: "open", scenario, position, bytes, presetFile });
}

/** Opens a file that somebody dropped or chose. */
export async function openFile(chosen: File): Promise<void> {
  if (chosen.size > FILE_BYTES_MAX) {
    problem.value = `${chosen.name}: has ${chosen.size} bytes; a page takes ${FILE_BYTES_MAX}`;
    return;
  }
  const bytes = new Uint8Array(await chosen.arrayBuffer());
  if (/\.[cm]?[tj]s$/.test(chosen.name)) {
    openSource(new TextDecoder().decode(bytes));
    return;
  }
  file = { name: chosen.name, bytes };
  open({ kind: "file", name: chosen.name });
}

/** Runs source of one's own, on the machine of the workload that is shown. */
export function openSource(source: string): void {
  const shown = picture.value?.scenario;
  const { parameters: _, ...machine } = shown?.kind === "workload" ? shown : DEFAULT_SCENARIO;
  const rest =
    shown?.kind === "source" ? shown : { ...machine, settings: shown?.kind === "workload" ? shown.settings : {} };
  editing.value = true;
  open({ ...rest, kind: "source", name: SOURCE_NAME, source });
}

/** Asks for a file, which is saved when it comes. */
export function askForFile(kind: ExportKind): void {
  worker.postMessage({ export: kind });
}

const ENDINGS: Readonly<Record<ExportKind, string>> = { timeline: "timeline.json", state: "state" };

function saveExported(exported: { readonly bytes: Uint8Array } | { readonly error: string }, kind: ExportKind): void {
  if ("error" in exported) problem.value = exported.error;
  else save(ENDINGS[kind], new Blob([exported.bytes.slice()]));
}

/** Saves something of what is shown: `mmulab-mixed-300.json`. */
export function save(ending: string, content: Blob): void {
  const shown = picture.value;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `mmulab-${shown?.scenario.name}-${shown?.position}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Asks for the names that the editor completes. */
export function askForCompletions(): void {
  if (completions.value === null) worker.postMessage("completions");
}

/** Looks at another CPU or address. */
export function look(change: Partial<Focus>): void {
  focus.value = { ...focus.value, ...change };
  ask({ kind: "look" });
}

/** Opens what the page's address says, or the first story. */
export async function openLink(): Promise<void> {
  const place = parseLink(location.hash);
  focus.value = place?.focus ?? { cpu: null, address: null };
  const scenario: Scenario = place?.scenario ?? { kind: "story", name: "stale-entry" };
  editing.value = scenario.kind === "source";
  if (scenario.kind === "file" && file?.name !== scenario.name) await fetchOpened(scenario.name);
  if ("preset" in scenario && scenario.preset.endsWith(".json")) {
    const found = await fetchBeside("preset");
    if (found !== null) presetFile = { name: scenario.preset, text: await found.text() };
  }
  openAt(scenario, place?.position ?? 0);
}

/** The file that `mmulab view FILE` serves beside the page. On a static site there is none, and it has to be dropped. */
async function fetchOpened(name: string): Promise<void> {
  const found = await fetchBeside("opened");
  if (found !== null) file = { name, bytes: new Uint8Array(await found.arrayBuffer()) };
}

async function fetchBeside(name: "opened" | "preset"): Promise<Response | null> {
  const found = await fetch(name).catch(() => null);
  return found?.ok === true ? found : null;
}

/** A workload's scenario to begin with, on the machine of the one that is shown. */
export function workloadScenario(name: string): Scenario {
  return { ...DEFAULT_SCENARIO, ...machineShown(), name };
}

/** What was chosen of the machine that is shown. */
function machineShown(): Partial<Pick<WorkloadScenario, "cpus" | "memoryMib" | "preset" | "set" | "settings">> {
  const shown = picture.value?.scenario;
  if (shown?.kind !== "workload" && shown?.kind !== "source") return {};
  const { cpus, memoryMib, preset, set, settings } = shown;
  return { cpus, memoryMib, preset, settings, ...(set === undefined ? {} : { set }) };
}

function ask(what: Move): void {
  busy.value = true;
  clearTimeout(slowTimer);
  slowTimer = window.setTimeout(() => {
    isSlow.value = true;
  }, SLOW_MS);
  worker.postMessage({ id: ++asked, move: what, focus: focus.value });
}
