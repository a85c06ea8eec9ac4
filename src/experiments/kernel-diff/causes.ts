/**
 * Which entries of a version make a figure differ. Each entry is switched by itself, from both sides: the older kernel with the newer one's
 * entry, and the newer kernel with the older one's. Where both give all of the difference and no other entry gives any, it is the cause; where
 * they do not, entries act together, and pairs of them say which.
 *
 * On several CPUs whoever comes first changes what all others find, so that a figure moves when a CPU is but some cycles later. How much that is
 * comes from runs in which nothing else changes; what an entry does counts when it is more.
 */
import type { VersionEntry } from "../../../mm/index.ts";

/** Figures of one run by name. */
export type Figures = ReadonlyMap<string, number>;

/** What an entry does to a figure. */
export interface Effect {
  readonly figure: string;
  readonly entry: VersionEntry;
  /** By how much the figure changes when the first kernel gets the second one's entry. */
  readonly alone: number;
  /** By how much it is less than the second kernel's when that gets the first one's entry. */
  readonly undone: number;
}

/** What two entries together do to a figure beyond the sum of what each does. */
export interface Interaction {
  readonly figure: string;
  readonly entries: readonly [VersionEntry, VersionEntry];
  readonly beyond: number;
}

/** Runs the same thing on the first kernel with some entries of the second, with CPU 0 some cycles late. */
export type RunWith = (entries: readonly VersionEntry[], lateCycles: number) => Figures;

/** An effect that is less than this part of the difference (or, where there is none, of the figure) is not named. */
const EFFECT_MIN = 0.01;
/** How late CPU 0 is in the runs that show what timing does. */
const LATE_CYCLES = [100, 1700];
/** Most entries of which pairs are tried: 28 runs. */
const PAIRED_MAX = 8;

/** What was found about all figures. */
export interface Causes {
  readonly from: Figures;
  readonly to: Figures;
  /** How far each figure of either kernel moves when a CPU comes somewhat later. */
  readonly byTiming: Figures;
  readonly effects: readonly Effect[];
  readonly interactions: readonly Interaction[];
}

/** Tries the entries one by one, and in pairs where one by one does not explain a figure. */
export function findCauses(entries: readonly VersionEntry[], run: RunWith, triesPairs: boolean): Causes {
  const [from, to] = [run([], 0), run(entries, 0)];
  const names = [...new Set([...from.keys(), ...to.keys()])];
  const byTiming = movedByTiming(names, [from, to], [[], entries], run);
  const alone = new Map(entries.map((entry) => [entry, run([entry], 0)]));
  const without = new Map(
    entries.map((entry) => [
      entry,
      run(
        entries.filter((other) => other !== entry),
        0,
      ),
    ]),
  );
  const effects = names.flatMap((figure) =>
    entries
      .map(
        (entry): Effect => ({
          figure,
          entry,
          alone: at(alone.get(entry), figure) - at(from, figure),
          undone: at(to, figure) - at(without.get(entry), figure),
        }),
      )
      .filter((effect) => sizeOf(effect) >= leastOf(figure, from, to, byTiming))
      .sort((a, b) => Math.abs(b.alone + b.undone) - Math.abs(a.alone + a.undone)),
  );
  const known = { from, to, byTiming, effects, interactions: [] };
  return triesPairs ? { ...known, interactions: findInteractions(known, names, alone, run) } : known;
}

function movedByTiming(
  names: readonly string[],
  kernels: readonly Figures[],
  switched: readonly (readonly VersionEntry[])[],
  run: RunWith,
): Figures {
  const late = kernels.flatMap((inTime, i) =>
    LATE_CYCLES.map((cycles) => ({ inTime, later: run(switched[i], cycles) })),
  );
  return new Map(
    names.map((name) => [
      name,
      Math.max(...late.map(({ inTime, later }) => Math.abs(at(later, name) - at(inTime, name)))),
    ]),
  );
}

/** What an effect on a figure is at least, to be named: more than what timing does, and a part of the difference. */
function leastOf(figure: string, from: Figures, to: Figures, byTiming: Figures): number {
  const difference = Math.abs(at(to, figure) - at(from, figure));
  const whole = difference === 0 ? Math.abs(at(from, figure)) : difference;
  return Math.max(1, whole * EFFECT_MIN, at(byTiming, figure) + 1);
}

/** The larger of what it does to either kernel. */
function sizeOf({ alone, undone }: Effect): number {
  return Math.max(Math.abs(alone), Math.abs(undone));
}

/** Pairs of entries, for the figures that they do not explain one by one. */
function findInteractions(
  { from, to, byTiming, effects }: Causes,
  names: readonly string[],
  alone: ReadonlyMap<VersionEntry, Figures>,
  run: RunWith,
): Interaction[] {
  const open = names.filter((figure) => {
    const sum = effects.filter((effect) => effect.figure === figure).reduce((all, effect) => all + effect.alone, 0);
    const rest = at(to, figure) - at(from, figure) - sum;
    return Math.abs(rest) >= leastOf(figure, from, to, byTiming);
  });
  const weights = new Map<VersionEntry, number>();
  for (const { figure, entry } of effects) {
    if (open.includes(figure)) weights.set(entry, (weights.get(entry) ?? 0) + 1);
  }
  const paired = [...weights].sort(([, a], [, b]) => b - a).slice(0, PAIRED_MAX);
  const found: Interaction[] = [];
  paired.forEach(([first], i) => {
    for (const [second] of paired.slice(i + 1)) {
      const both = run([first, second], 0);
      for (const figure of open) {
        const sum = at(alone.get(first), figure) + at(alone.get(second), figure) - at(from, figure);
        const beyond = at(both, figure) - sum;
        if (Math.abs(beyond) >= leastOf(figure, from, to, byTiming))
          found.push({ figure, entries: [first, second], beyond });
      }
    }
  });
  return found.sort(
    (a, b) => names.indexOf(a.figure) - names.indexOf(b.figure) || Math.abs(b.beyond) - Math.abs(a.beyond),
  );
}

function at(figures: Figures | undefined, name: string): number {
  return figures?.get(name) ?? 0;
}
