/** `kernel-diff`: the same workload, trace or recording on two versions of Linux: what differs, and which entry of the version makes it differ. */

import {
  describeEntry,
  differingEntries,
  KERNEL_VERSIONS,
  type KernelVersion,
  kernelVersionByName,
  VERSION_ENTRIES,
  withEntries,
} from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import { grouped } from "../../report/numbers.ts";
import { GUEST_EXPERIMENT_SETTINGS } from "../../settings/guest-settings.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome, ResultTable } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";
import { type Causes, type Effect, type Figures, findCauses } from "./causes.ts";
import { loadParser, subjectOf } from "./subject.ts";
import { AT_ANOTHER_ADDRESS, AT_ANOTHER_FRAME, elsewhere, type FigurePart, type WatchedRun } from "./watched-run.ts";

const NAMES = KERNEL_VERSIONS.map(({ name }) => name);

/** Parts of a run of which each shows the most lazily freed pages. */
const LAZY_PARTS = 16;
/** Entries that a row names, and those that a finding does. */
const TOLD_MAX = 2;
const NAMED_MAX = 1;

/** The figures that findings are about. */
const TOLD = [
  AT_ANOTHER_ADDRESS,
  "ranges given back to the free tree",
  "purges",
  "flushes of whole TLBs",
  "flushes page by page",
  "tables allocated",
  AT_ANOTHER_FRAME,
  "flushing, in all",
  "all CPUs, not idle",
];

const FIGURE_COLUMNS = {
  figure: { heading: "figure", text: true },
  part: { heading: "of", text: true },
  from: { heading: "from" },
  to: { heading: "to" },
  difference: { heading: "difference" },
  byTiming: { heading: "by timing" },
  cause: { heading: "made by", text: true },
} as const;

const EFFECT_COLUMNS = {
  figure: { heading: "figure", text: true },
  entry: { heading: "entry", text: true },
  alone: { heading: "by itself" },
  undone: { heading: "missing without it" },
  difference: { heading: "of" },
} as const;

const INTERACTION_COLUMNS = {
  figure: { heading: "figure", text: true },
  entry: { heading: "entry", text: true },
  other: { heading: "and", text: true },
  beyond: { heading: "beyond their sum" },
} as const;

const ENTRY_COLUMNS = {
  entry: { heading: "entry", text: true },
  from: { heading: "from", text: true },
  to: { heading: "to", text: true },
  figures: { heading: "figures moved" },
  meaning: { heading: "what it decides", text: true },
} as const;

const LAZY_COLUMNS = {
  kernel: { heading: "kernel", text: true },
  milliseconds: { heading: "until (ms)", axis: "milliseconds" },
  pages: { heading: "most lazily freed pages", axis: "most lazily freed pages" },
} as const;

/** The experiment. */
export const kernelDiff: Experiment = {
  name: "kernel-diff",
  summary: "the same workload, trace or recording on two versions of Linux: what differs, and what makes it differ",
  description: `A workload (--workload, with --ops and its own --parameters), a trace (--ftrace FILE) or the calls of a recording (--recording FILE) runs
on two versions. All that can be counted is laid side by side: areas and their addresses, purges and flushes, page tables, frames, cycles by part.
Each entry in which the versions differ (mm/versions) is then switched by itself, in both kernels: "by itself" is what the older kernel's figure
changes with the newer one's entry, "missing without it" what the newer kernel's lacks with the older one's. An entry for which both are the whole
difference is its cause; where they are not, entries act together, and --pairs tries them two by two. Effects below 1 % of a difference are left out, and those that are not more than "by timing": how far the figure moves, in either
kernel, when CPU 0 begins 100 or 1,700 cycles later and nothing else changes.
Areas and frames are compared with those of the first kernel one by one, in their order on each CPU. A trace runs by the kernel's own rules:
areas are not put where they were. A recording begins in a kernel that has just been booted: the state that one version left is none of another.`,
  parameters: [
    { name: "from", kind: "word", words: NAMES, default: "6.12", summary: `version of Linux (${NAMES.join(", ")})` },
    { name: "to", kind: "word", words: NAMES, default: "7.3", summary: "the version that it is compared with" },
    { name: "workload", kind: "text", default: "mixed", summary: "workload (mmulab run --list)" },
    {
      name: "ops",
      kind: "integer",
      low: 1,
      high: 1e9,
      default: 2000,
      summary: "operations of the workload over all CPUs",
    },
    { name: "parameters", kind: "text", default: "", summary: "the workload's own, NAME=VALUE, separated by blanks" },
    { name: "cpus", kind: "integer", low: 1, high: 1024, default: 4, summary: "CPUs (of a workload)" },
    { name: "ftrace", kind: "text", default: "", summary: "a trace in place of a workload, plain or gzip" },
    { name: "recording", kind: "text", default: "", summary: "a recording in place of a workload, plain or gzip" },
    {
      name: "pairs",
      kind: "boolean",
      default: true,
      summary: "whether entries are tried two by two where one does not explain",
    },
  ],
  settings: kernelExperimentSettings(["kernel", ...GUEST_EXPERIMENT_SETTINGS], ["lazy-max", "nr-cpus"]),
  example: "mmulab experiment kernel-diff --from 6.1 --to 7.3 --workload mixed --ops 2000",
  headline: "to",
  sensitivityParameters: { ops: "50", cpus: "2" },
  prepare: loadParser,
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const [from, to] = [versionOf(context, "from"), versionOf(context, "to")];
  const subject = subjectOf(context);
  const entries = differingEntries(from, to);
  const parts = new Map<string, FigurePart>();
  const runs: WatchedRun[] = [];
  // Both kernels, each entry in both, and some pairs.
  const expected = 6 + 2 * entries.length;
  const causes = findCauses(
    entries,
    (switched, lateCycles) => {
      const label = labelOf(from, to, switched.length, entries.length, switched.join(" + "));
      onProgress(runs.length, Math.max(expected, runs.length + 1), label);
      const seen = context.points.apart(() => subject(withEntries(from, to, switched), lateCycles, label));
      runs.push(seen);
      return figuresOf(seen, runs[0], parts);
    },
    parameters.isOn("pairs"),
  );
  const effects = new Map<string, Effect[]>();
  for (const effect of causes.effects) {
    const own = effects.get(effect.figure);
    if (own === undefined) effects.set(effect.figure, [effect]);
    else own.push(effect);
  }
  const rows = [...parts]
    .map(([figure, part]) => figureRow(figure, part, causes, effects.get(figure) ?? []))
    .filter((row) => row.from !== 0 || row.to !== 0);
  const lazy = new DataTable("lazy", "Lazily freed pages over time", LAZY_COLUMNS, lazyRows(from, to, runs));
  const style = { title: "Lazily freed pages", xLog: false, yLog: false };
  return {
    tables: [...tablesOf(from, to, rows, causes), lazy.toResult()],
    plots: [plotByKind(lazy, "milliseconds", "pages", style, ({ kernel }) => kernel)],
    findings: findings(from, to, rows, causes, effects),
  };
}

/** The tables; those that would be empty are left out. */
function tablesOf(
  from: KernelVersion,
  to: KernelVersion,
  rows: readonly Row<typeof FIGURE_COLUMNS>[],
  causes: Causes,
): ResultTable[] {
  const both = `${from.name} and ${to.name}`;
  const pairs = causes.interactions.map(({ figure, entries: [entry, other], beyond }) => ({
    figure,
    entry,
    other,
    beyond,
  }));
  const together = "What two entries do together, beyond the sum of what each does";
  return [
    new DataTable("figures", `What ${both} did`, FIGURE_COLUMNS, rows).toResult(),
    new DataTable("effects", "What each entry does to a figure", EFFECT_COLUMNS, effectRows(causes)).toResult(),
    new DataTable("interactions", together, INTERACTION_COLUMNS, pairs).toResult(),
    new DataTable("entries", `Entries in which ${both} differ`, ENTRY_COLUMNS, entryRows(from, to, causes)).toResult(),
  ].filter((table) => table.rows.length > 0);
}

function versionOf({ parameters }: ExperimentContext, name: string): KernelVersion {
  return kernelVersionByName(parameters.word(name));
}

function labelOf(from: KernelVersion, to: KernelVersion, switched: number, all: number, names: string): string {
  if (switched === 0) return from.name;
  if (switched === all) return to.name;
  return switched <= 2 ? `${from.name} with ${names} of ${to.name}` : `${to.name} with an entry of ${from.name}`;
}

/** The figures of a run by name, those of what is elsewhere than in the first run included. */
function figuresOf(seen: WatchedRun, first: WatchedRun, parts: Map<string, FigurePart>): Figures {
  const all = new Map<string, number>();
  const add = (part: FigurePart, name: string, value: number): void => {
    all.set(name, value);
    if (!parts.has(name)) parts.set(name, part);
  };
  for (const { part, name, value } of seen.figures) {
    add(part, name, value);
    if (name === "areas allocated") add("areas", AT_ANOTHER_ADDRESS, elsewhere(seen.addresses, first.addresses));
    if (name === "frames allocated") add("frames", AT_ANOTHER_FRAME, elsewhere(seen.frames, first.frames));
  }
  return all;
}

function figureRow(
  figure: string,
  part: FigurePart,
  causes: Causes,
  effects: readonly Effect[],
): Row<typeof FIGURE_COLUMNS> {
  const [from, to] = [causes.from.get(figure) ?? 0, causes.to.get(figure) ?? 0];
  const named = effects.slice(0, NAMED_MAX).map(({ entry }) => entry);
  const more = effects.length > NAMED_MAX ? ` +${effects.length - NAMED_MAX}` : "";
  const byTiming = causes.byTiming.get(figure) ?? 0;
  return { figure, part, from, to, difference: to - from, byTiming, cause: named.join(", ") + more };
}

function effectRows(causes: Causes): Row<typeof EFFECT_COLUMNS>[] {
  return causes.effects.map(({ figure, entry, alone, undone }) => {
    const difference = (causes.to.get(figure) ?? 0) - (causes.from.get(figure) ?? 0);
    return { figure, entry, alone, undone, difference };
  });
}

function entryRows(from: KernelVersion, to: KernelVersion, { effects }: Causes): Row<typeof ENTRY_COLUMNS>[] {
  return differingEntries(from, to).map((entry) => ({
    entry,
    from: describeEntry(from, entry),
    to: describeEntry(to, entry),
    figures: effects.filter((effect) => effect.entry === entry).length,
    meaning: VERSION_ENTRIES[entry],
  }));
}

function findings(
  from: KernelVersion,
  to: KernelVersion,
  rows: readonly Row<typeof FIGURE_COLUMNS>[],
  causes: Causes,
  effects: ReadonlyMap<string, readonly Effect[]>,
): string[] {
  const moved = rows.filter(({ difference }) => difference !== 0);
  const told = moved
    .filter(({ figure }) => TOLD.includes(figure))
    .map((row) => `${sentence(from, to, row)} ${causeSentence(row, causes, effects.get(row.figure) ?? [])}`);
  const still = differingEntries(from, to).filter((entry) => !causes.effects.some((effect) => effect.entry === entry));
  return [
    moved.length === 0
      ? `${from.name} and ${to.name} do the same here, figure by figure.`
      : `${moved.length} of ${rows.length} figures differ.`,
    ...told,
    ...(still.length === 0 ? [] : [`Entries that differ and move nothing here: ${still.join(", ")}.`]),
  ];
}

function sentence(from: KernelVersion, to: KernelVersion, row: Row<typeof FIGURE_COLUMNS>): string {
  const what = row.part === "cycles" ? `cycles of ${row.figure}` : row.figure;
  if (row.from === 0 && row.figure === AT_ANOTHER_ADDRESS)
    return `${counted(row.to, "area", undefined, grouped)} lie elsewhere in ${to.name}.`;
  return `${what}: ${grouped(row.from)} in ${from.name}, ${grouped(row.to)} in ${to.name}.`;
}

/** Who makes a difference: one entry, several, or several only together. */
function causeSentence(
  { figure, difference, byTiming }: Row<typeof FIGURE_COLUMNS>,
  { interactions }: Causes,
  effects: readonly Effect[],
): string {
  const whole = effects.find(({ alone, undone }) => alone === difference && undone === difference);
  if (whole !== undefined && effects.length === 1) return `${whole.entry} makes all of it.`;
  if (Math.abs(difference) <= byTiming) return `Timing alone moves it by ${grouped(byTiming)}.`;
  if (effects.length === 0) return "No entry by itself makes it differ by more than timing does.";
  const each = effects
    .slice(0, TOLD_MAX)
    .map(({ entry, alone, undone }) => `${entry} (by itself ${signed(alone)}, missing without it ${signed(undone)})`);
  const pair = interactions.find((interaction) => interaction.figure === figure);
  const together =
    pair === undefined ? "" : ` ${pair.entries.join(" and ")} together add ${signed(pair.beyond)} to what each does.`;
  return `Made most of all by ${each.join(" and ")}.${together}`;
}

function signed(value: number): string {
  return value > 0 ? `+${grouped(value)}` : grouped(value);
}

/** Most pages that lay lazily freed, over time, in both kernels: the run cut into parts of the same length. */
function lazyRows(from: KernelVersion, to: KernelVersion, runs: readonly WatchedRun[]): Row<typeof LAZY_COLUMNS>[] {
  const versions = from === to ? [from] : [from, to];
  return versions.flatMap(({ name }, i) => {
    const { lazyPages } = runs[i];
    const end = lazyPages.at(-1)?.[0] ?? 0;
    const most = new Float64Array(LAZY_PARTS);
    for (const [at, pages] of lazyPages) {
      const part = Math.min(LAZY_PARTS - 1, Math.floor((at / Math.max(end, 1e-9)) * LAZY_PARTS));
      most[part] = Math.max(most[part], pages);
    }
    return Array.from(most, (pages, part) => {
      const milliseconds = Math.round(((part + 1) * end * 1000) / LAZY_PARTS) / 1000;
      return { kernel: name, milliseconds, pages };
    });
  });
}
