/** Where cycles go: all CPUs' by activity, those of calls and of flushes in their parts. */
import { CALL_PARTS, FLUSH_PARTS } from "../model/cost-view.ts";
import type { Picture } from "../model/picture.ts";
import { Scroll } from "./scroll.tsx";
import { before } from "./store.ts";
import { count } from "./words.ts";

/** Colours of the parts, which differ in lightness as well as in hue. */
const PART_CLASSES = ["own", "walks", "locks", "lines", "tlb", "ipis", "handlers", "core"] as const;
const FLUSH_CLASSES = ["own", "ipis", "handlers", "lines", "walks"] as const;

/** Activities as parts: which colour each has. */
function classOf(activity: string): string {
  if (activity === "idle") return "idle";
  const part = CALL_PARTS.findIndex(({ activities }) => (activities as readonly string[]).includes(activity));
  return PART_CLASSES[Math.max(0, part)];
}

/** Parts side by side, as wide as their cycles; `of` cycles are the whole width. */
function Bar(props: {
  readonly parts: readonly number[];
  readonly classes: readonly string[];
  readonly names: readonly string[];
  readonly of: number;
}) {
  const { parts, classes, names, of } = props;
  const words = parts.flatMap((cycles, i) => (cycles > 0 ? [`${names[i]} ${count(cycles)}`] : [])).join(", ");
  return (
    <div class="parts" role="img" aria-label={words} title={words}>
      {parts.map((cycles, i) =>
        cycles > 0 ? (
          <span key={names[i]} class={`part-${classes[i]}`} style={{ width: `${(100 * cycles) / Math.max(1, of)}%` }} />
        ) : null,
      )}
    </div>
  );
}

function Legend({ names, classes }: { readonly names: readonly string[]; readonly classes: readonly string[] }) {
  return (
    <ul class="legend" aria-label="Parts">
      {names.map((name, i) => (
        <li key={name}>
          <span class={`swatch part-${classes[i]}`} /> {name}
        </li>
      ))}
    </ul>
  );
}

const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0);
const CALL_NAMES = CALL_PARTS.map(({ name }) => name);

/** A row of a table: its cells, and the cycles by part that its last column shows. */
interface PartRow {
  readonly key: string;
  readonly cells: readonly (string | number)[];
  readonly parts: readonly number[];
  readonly isNew?: boolean;
}

/** A table whose last column shows the parts of its row. */
function PartTable(props: {
  readonly id: string;
  readonly headings: readonly string[];
  readonly rows: readonly PartRow[];
  readonly classes: readonly string[];
  readonly names: readonly string[];
}) {
  const { id, headings, rows, classes, names } = props;
  return (
    <table id={id}>
      <thead>
        <tr>
          {[...headings, "in parts"].map((heading) => (
            <th key={heading} scope="col">
              {heading}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ key, cells, parts, isNew }) => (
          <tr key={key} class={isNew === true ? "new" : ""}>
            {cells.map((cell, i) => (
              <td key={headings[i]}>{cell}</td>
            ))}
            <td>
              <Bar parts={parts} classes={classes} names={names} of={sum(parts)} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const CALL_COLUMNS = { classes: PART_CLASSES, names: CALL_NAMES };

/** Calls by name, as means. */
function MeanCalls({ picture: { costs } }: { readonly picture: Picture }) {
  const rows = costs.means.map(
    ({ name, calls, parts }): PartRow => ({ key: name, cells: [name, count(calls), count(sum(parts))], parts }),
  );
  return (
    <div>
      <h3>{rows.length === 0 ? "No call yet" : "Calls, mean of the latest"}</h3>
      <PartTable id="means" headings={["call", "calls", "cycles"]} rows={rows} {...CALL_COLUMNS} />
    </div>
  );
}

/** Calls one by one. */
function LastCalls({ picture: { costs, position } }: { readonly picture: Picture }) {
  if (costs.calls.length === 0) return null;
  const rows = costs.calls.map(
    ({ name, cpu, position: at, fromCycles, parts }): PartRow => ({
      key: `${cpu} ${fromCycles}`,
      cells: [name, cpu, count(sum(parts))],
      parts,
      isNew: at === position,
    }),
  );
  return (
    <div>
      <h3>Last calls</h3>
      <PartTable id="calls" headings={["call", "CPU", "cycles"]} rows={rows} {...CALL_COLUMNS} />
    </div>
  );
}

/** Flushes one by one. */
function Flushes({ picture }: { readonly picture: Picture }) {
  const { flushes, flushCount } = picture.costs;
  if (flushCount === 0) return <h3>No flush yet</h3>;
  const old = before.value?.costs.flushCount ?? flushCount;
  const rows = flushes.map(
    ({ id, cause, cpu, pages, isFull, interrupted, parts }): PartRow => ({
      key: String(id),
      cells: [cause, cpu, isFull ? "whole TLB" : count(pages), interrupted, count(sum(parts))],
      parts,
      isNew: id > old,
    }),
  );
  const headings = ["cause", "CPU", "pages", "interrupted", "cycles"];
  return (
    <div>
      <h3>Last flushes, of {count(flushCount)}</h3>
      <Legend names={FLUSH_PARTS} classes={FLUSH_CLASSES} />
      <PartTable id="flushes" headings={headings} rows={rows} classes={FLUSH_CLASSES} names={FLUSH_PARTS} />
    </div>
  );
}

/** All CPUs' cycles by activity. */
function Activities({ picture }: { readonly picture: Picture }) {
  const { activities } = picture.costs;
  const old = new Map(before.value?.costs.activities ?? activities);
  const all = sum(activities.map(([, cycles]) => cycles));
  return (
    <div>
      <h3>All CPUs by activity</h3>
      <table id="activities">
        <thead>
          <tr>
            <th scope="col">activity</th>
            <th scope="col">cycles</th>
            <th scope="col">share</th>
            <th scope="col">in this step</th>
          </tr>
        </thead>
        <tbody>
          {activities.map(([name, cycles]) => {
            const since = cycles - (old.get(name) ?? 0);
            return (
              <tr key={name} class={since > 0 ? "new" : ""}>
                <td>
                  <span class={`swatch part-${classOf(name)}`} /> {name}
                </td>
                <td>{count(cycles)}</td>
                <td>{((100 * cycles) / Math.max(1, all)).toFixed(1)} %</td>
                <td>{since > 0 ? count(since) : ""}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** The view. */
export function Costs({ picture }: { readonly picture: Picture }) {
  const { activities } = picture.costs;
  const cycles = activities.map(([, each]) => each);
  const names = activities.map(([name]) => name);
  return (
    <section class="view" id="costs" aria-labelledby="costs-title">
      <h2 id="costs-title">Costs</h2>
      <p class="figures">cycles of all CPUs: {count(sum(cycles))}</p>
      <Bar parts={cycles} classes={names.map(classOf)} names={names} of={sum(cycles)} />
      <Legend names={[...CALL_NAMES, "idle"]} classes={[...PART_CLASSES, "idle"]} />
      <Scroll label="Costs in their parts">
        <div class="tables">
          <div>
            <MeanCalls picture={picture} />
            <Activities picture={picture} />
          </div>
          <LastCalls picture={picture} />
          <Flushes picture={picture} />
        </div>
      </Scroll>
    </section>
  );
}
