/** Where cycles go: all CPUs' by activity, those of calls and of flushes in their parts. */
import { CALL_PARTS, FLUSH_PARTS } from "../model/cost-view.ts";
import type { Picture } from "../model/picture.ts";
import { Scroll } from "./scroll.tsx";
import { before } from "./store.ts";
import { count } from "./words.ts";

/** Colours of the parts, which differ in lightness as well as in hue. */
const PART_CLASSES = ["own", "walks", "locks", "lines", "tlb", "ipis", "handlers"] as const;
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

/** The view. */
export function Costs({ picture }: { readonly picture: Picture }) {
  const { costs, position } = picture;
  const { activities, means, calls, flushes, flushCount } = costs;
  const old = new Map(before.value?.costs.activities ?? activities);
  const all = sum(activities.map(([, cycles]) => cycles));
  return (
    <section class="view" id="costs" aria-labelledby="costs-title">
      <h2 id="costs-title">Costs</h2>
      <p class="figures">cycles of all CPUs: {count(all)}</p>
      <Bar
        parts={activities.map(([, cycles]) => cycles)}
        classes={activities.map(([name]) => classOf(name))}
        names={activities.map(([name]) => name)}
        of={all}
      />
      <Legend names={[...CALL_NAMES, "idle"]} classes={[...PART_CLASSES, "idle"]} />
      <Scroll label="Costs in their parts">
        <div class="tables">
          <div>
            <h3>Calls, mean of the latest</h3>
            <table id="means">
              <thead>
                <tr>
                  <th scope="col">call</th>
                  <th scope="col">calls</th>
                  <th scope="col">cycles</th>
                  <th scope="col">in parts</th>
                </tr>
              </thead>
              <tbody>
                {means.map(({ name, calls: times, parts }) => (
                  <tr key={name}>
                    <th scope="row">{name}</th>
                    <td>{count(times)}</td>
                    <td>{count(sum(parts))}</td>
                    <td>
                      <Bar parts={parts} classes={PART_CLASSES} names={CALL_NAMES} of={sum(parts)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <div>
            <h3>Last calls</h3>
            <table id="calls">
              <thead>
                <tr>
                  <th scope="col">call</th>
                  <th scope="col">CPU</th>
                  <th scope="col">cycles</th>
                  <th scope="col">in parts</th>
                </tr>
              </thead>
              <tbody>
                {calls.map(({ name, cpu, position: at, fromCycles, parts }) => (
                  <tr key={`${cpu} ${fromCycles}`} class={at === position ? "new" : ""}>
                    <td>{name}</td>
                    <td>{cpu}</td>
                    <td>{count(sum(parts))}</td>
                    <td>
                      <Bar parts={parts} classes={PART_CLASSES} names={CALL_NAMES} of={sum(parts)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <div>
            <h3>Last flushes, of {count(flushCount)}</h3>
            <Legend names={FLUSH_PARTS} classes={FLUSH_CLASSES} />
            <table id="flushes">
              <thead>
                <tr>
                  <th scope="col">cause</th>
                  <th scope="col">CPU</th>
                  <th scope="col">pages</th>
                  <th scope="col">interrupted</th>
                  <th scope="col">cycles</th>
                  <th scope="col">in parts</th>
                </tr>
              </thead>
              <tbody>
                {flushes.map(({ id, cause, cpu, pages, isFull, interrupted, parts }) => (
                  <tr key={id}>
                    <td>{cause}</td>
                    <td>{cpu}</td>
                    <td>{isFull ? "whole TLB" : count(pages)}</td>
                    <td>{interrupted}</td>
                    <td>{count(sum(parts))}</td>
                    <td>
                      <Bar parts={parts} classes={FLUSH_CLASSES} names={FLUSH_PARTS} of={sum(parts)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
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
        </div>
      </Scroll>
    </section>
  );
}
