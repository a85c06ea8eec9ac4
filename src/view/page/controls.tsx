/** What is run, and the steps forwards and backwards. */
import type { Picture } from "../model/picture.ts";
import { type Scenario, SOURCE_NAME, type SourceScenario, type WorkloadScenario } from "../model/scenario.ts";
import { BREAKPOINTS, type Breakpoint, STRIDES, type Stride } from "../model/strides.ts";
import { EXAMPLE } from "./editor.tsx";
import { Export } from "./export.tsx";
import { busy, editing, isSlow, move, open, openFile, openSource, progress, stop, workloadScenario } from "./store.ts";
import { count } from "./words.ts";

const STRIDE_WORDS: Readonly<Record<Stride, string>> = { step: "step", event: "event", call: "call", ipi: "IPI" };
const BREAKPOINT_WORDS: Readonly<Record<Breakpoint, string>> = {
  fault: "a page fault",
  "stale use": "a use of a stale entry",
  touch: "an access to the walked page",
  purge: "a purge",
  flush: "a flush",
  warning: "a warning",
  end: "the end",
};

/** Keys, as the page's help lists them. */
const KEYS = "Keys: → and ← one step, E and Shift+E event, C and Shift+C call, I and Shift+I IPI, Home, End.";

/** Moves by a key, unless one is typing. */
export function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.closest("input, select, textarea, .editor") !== null || event.ctrlKey || event.metaKey || event.altKey)
    return;
  const strides: Readonly<Record<string, Stride>> = { e: "event", c: "call", i: "ipi" };
  const stride = strides[event.key.toLowerCase()];
  if (stride !== undefined) move({ kind: event.shiftKey ? "back" : "forward", stride });
  else if (event.key === "ArrowRight") move({ kind: "forward", stride: "step" });
  else if (event.key === "ArrowLeft") move({ kind: "back", stride: "step" });
  else if (event.key === "Home") move({ kind: "go", position: 0 });
  else if (event.key === "End") move({ kind: "run", breakpoint: "end" });
  else return;
  event.preventDefault();
}

/** The head of the page. */
export function Controls({ picture }: { readonly picture: Picture | null }) {
  const scenario = picture?.scenario;
  return (
    <header>
      <h1>mmulab</h1>
      <div class="row">
        <ScenarioChoice picture={picture} />
        <label class="file">
          Open file
          <input
            type="file"
            onChange={(event) => {
              const [chosen] = event.currentTarget.files ?? [];
              if (chosen !== undefined) openFile(chosen);
              event.currentTarget.value = "";
            }}
          />
        </label>
        {scenario?.kind === "workload" || scenario?.kind === "source" ? <Settings scenario={scenario} /> : null}
      </div>
      <fieldset class="row" aria-label="Steps" title={KEYS}>
        <Steps isStory={scenario?.kind === "story"} address={picture?.walk.address ?? 0} />
        {picture === null ? null : <Export picture={picture} />}
        <output aria-live="polite">
          {picture === null ? "" : `step ${count(picture.position)}`}
          {picture?.length == null ? "" : ` of ${count(picture.length)}`}
          {picture?.isOver === true ? ", the end" : ""}
          {busy.value ? " …" : ""}
        </output>
        <ProgressBar />
        {isSlow.value ? (
          <button type="button" class="primary" onClick={stop}>
            Stop
          </button>
        ) : null}
      </fieldset>
    </header>
  );
}

/** How far a long move is. */
function ProgressBar() {
  const { value } = progress;
  if (value === null) return null;
  const { position, aim } = value;
  return (
    <span class="progress">
      {aim === null ? null : <progress aria-label="Progress to the step" value={position} max={aim} />}
      <small>
        {count(position)}
        {aim === null ? "" : ` of ${count(aim)}`}
      </small>
    </span>
  );
}

/** Stories, workloads, and what is one's own. */
function ScenarioChoice({ picture }: { readonly picture: Picture | null }) {
  const scenario = picture?.scenario;
  const choose = (value: string): void => {
    const [kind, name] = value.split(" ");
    editing.value = kind === "source";
    if (kind === "source") openSource(EXAMPLE);
    else if (kind === "story" || kind === "workload")
      open(kind === "story" ? { kind: "story", name } : workloadScenario(name));
  };
  return (
    <label>
      Scenario{" "}
      <select
        value={scenario === undefined ? "" : `${scenario.kind} ${scenario.name}`}
        onChange={(event) => choose(event.currentTarget.value)}
      >
        <optgroup label="Stories">
          {picture?.catalogue.stories.map(({ name, title }) => (
            <option key={name} value={`story ${name}`}>
              {title}
            </option>
          ))}
        </optgroup>
        <optgroup label="Workloads">
          {picture?.catalogue.workloads.map((name) => (
            <option key={name} value={`workload ${name}`}>
              {name}
            </option>
          ))}
        </optgroup>
        <optgroup label="Own">
          <option value={`source ${SOURCE_NAME}`}>Own code (TypeScript)</option>
          {scenario?.kind === "file" ? <option value={`file ${scenario.name}`}>{scenario.name}</option> : null}
          {scenario?.kind === "experiment" ? (
            <option value={`experiment ${scenario.name}`}>
              {scenario.name}, point {scenario.point}
            </option>
          ) : null}
        </optgroup>
      </select>
    </label>
  );
}

function Steps({ isStory, address }: { readonly isStory: boolean; readonly address: number }) {
  const strides = isStory ? STRIDES.slice(0, 1) : STRIDES;
  return (
    <>
      <button type="button" onClick={() => move({ kind: "go", position: 0 })}>
        Begin
      </button>
      {strides.map((stride) => (
        <span class="pair" key={stride}>
          <button
            type="button"
            aria-label={`Back one ${STRIDE_WORDS[stride]}`}
            onClick={() => move({ kind: "back", stride })}
          >
            ◀
          </button>
          <button
            type="button"
            aria-label={`Next ${STRIDE_WORDS[stride]}`}
            class={isStory ? "primary" : ""}
            onClick={() => move({ kind: "forward", stride })}
          >
            {isStory ? "Next" : STRIDE_WORDS[stride]} ▶
          </button>
        </span>
      ))}
      <label>
        Run to{" "}
        <select
          class="menu"
          value=""
          onChange={(event) => {
            const breakpoint = BREAKPOINTS.find((each) => each === event.currentTarget.value);
            event.currentTarget.value = "";
            // The keys for steps are the page's again.
            event.currentTarget.blur();
            if (breakpoint !== undefined) move({ kind: "run", breakpoint, address });
          }}
        >
          <option value="">…</option>
          {BREAKPOINTS.map((each) => (
            <option key={each} value={each}>
              {BREAKPOINT_WORDS[each]}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}

/** A workload's figures; a change boots another machine. */
function Settings({ scenario }: { readonly scenario: WorkloadScenario | SourceScenario }) {
  const fields = [
    ["operations", "ops", 1_000_000],
    ["seed", "seed", 2 ** 32 - 1],
    ["cpus", "CPUs", 64],
  ] as const;
  const change = (name: string, value: number): void => open({ ...scenario, [name]: value } as Scenario);
  return (
    <>
      {fields.map(([name, label, most]) => (
        <label key={name}>
          {label}{" "}
          <input
            type="number"
            min={name === "seed" ? 0 : 1}
            max={most}
            value={scenario[name]}
            onChange={(event) => change(name, event.currentTarget.valueAsNumber)}
          />
        </label>
      ))}
    </>
  );
}
