/** A link holds all: scenario, position, and what is looked at, in the part of an address after the `#`. */
import { formatLinearAddress, parseLinearAddress } from "../../../arch/isa/linear-address.ts";
import { SETTING_NAMES, type SettingName } from "../../settings/setting-names.ts";
import type { Focus } from "./picture.ts";
import { DEFAULT_SCENARIO, type Scenario, SOURCE_NAME } from "./scenario.ts";

/** What a link says. */
export interface Place {
  readonly scenario: Scenario;
  readonly position: number;
  readonly focus: Focus;
}

/** `story=stale-entry&at=2&cpu=0`; what is as by default is left out. */
export function formatLink({ scenario, position, focus }: Place): string {
  const words = new URLSearchParams();
  if (scenario.kind === "story") words.set("story", scenario.name);
  else if (scenario.kind === "file") words.set("file", scenario.name);
  else if (scenario.kind === "experiment") {
    words.set("experiment", scenario.name);
    words.set("point", scenario.point);
    words.set("seed", String(scenario.seed));
    if (scenario.preset !== DEFAULT_SCENARIO.preset) words.set("preset", scenario.preset);
    for (const figure of scenario.set ?? []) words.append("set", figure);
    for (const parameter of scenario.parameters) words.append("p", parameter);
    for (const [name, value] of Object.entries(scenario.settings)) words.set(name, String(value));
  } else {
    if (scenario.kind === "workload") words.set("run", scenario.name);
    else words.set("source", scenario.source);
    words.set("ops", String(scenario.operations));
    words.set("seed", String(scenario.seed));
    words.set("cpus", String(scenario.cpus));
    if (scenario.memoryMib !== DEFAULT_SCENARIO.memoryMib) words.set("memory", `${scenario.memoryMib}MiB`);
    if (scenario.preset !== DEFAULT_SCENARIO.preset) words.set("preset", scenario.preset);
    for (const figure of scenario.set ?? []) words.append("set", figure);
    if (scenario.kind === "workload") for (const parameter of scenario.parameters) words.append("p", parameter);
    for (const [name, value] of Object.entries(scenario.settings)) words.set(name, String(value));
  }
  if (position !== 0) words.set("at", String(position));
  if (focus.cpu !== null) words.set("cpu", String(focus.cpu));
  if (focus.address !== null) words.set("address", formatLinearAddress(focus.address));
  if (focus.window != null) {
    words.set("from", formatLinearAddress(focus.window.start));
    words.set("bytes", String(focus.window.end - focus.window.start));
  }
  return words.toString();
}

/** What a link says; null for an empty one. Numbers that are none become the defaults; names are checked when it is opened. */
export function parseLink(text: string): Place | null {
  const words = new URLSearchParams(text.replace(/^#/, ""));
  const story = words.get("story");
  const file = words.get("file");
  const source = words.get("source");
  const name = words.get("run");
  const experiment = words.get("experiment");
  if ([story, file, source, name, experiment].every((word) => word === null)) return null;
  const whole = (key: string, fallback: number): number => {
    const value = Number.parseInt(words.get(key) ?? "", 10);
    return Number.isNaN(value) ? fallback : value;
  };
  const settings: Partial<Record<SettingName, string>> = {};
  for (const setting of SETTING_NAMES) {
    const value = words.get(setting);
    if (value !== null) settings[setting] = value;
  }
  const set = words.has("set") ? { set: words.getAll("set") } : {};
  const machine = {
    operations: whole("ops", DEFAULT_SCENARIO.operations),
    seed: whole("seed", DEFAULT_SCENARIO.seed),
    cpus: whole("cpus", DEFAULT_SCENARIO.cpus),
    memoryMib: whole("memory", DEFAULT_SCENARIO.memoryMib),
    preset: words.get("preset") ?? DEFAULT_SCENARIO.preset,
    ...set,
    settings,
  };
  let scenario: Scenario = { kind: "workload", name: name ?? "", parameters: words.getAll("p"), ...machine };
  if (story !== null) scenario = { kind: "story", name: story };
  else if (file !== null) scenario = { kind: "file", name: file };
  else if (source !== null) scenario = { kind: "source", name: SOURCE_NAME, source, ...machine };
  else if (experiment !== null) {
    const { seed, preset } = machine;
    const [point, parameters] = [words.get("point") ?? "0", words.getAll("p")];
    scenario = { kind: "experiment", name: experiment, point, seed, preset, ...set, parameters, settings };
  }
  const cpu = words.has("cpu") ? whole("cpu", 0) : null;
  return {
    scenario,
    position: Math.max(0, whole("at", 0)),
    focus: { cpu, address: addressIn(words, "address"), ...windowIn(words) },
  };
}

function windowIn(words: URLSearchParams): Pick<Focus, "window"> {
  const start = addressIn(words, "from");
  const bytes = Number(words.get("bytes"));
  return start === null || !Number.isSafeInteger(bytes) || bytes <= 0 ? {} : { window: { start, end: start + bytes } };
}

function addressIn(words: URLSearchParams, key: string): number | null {
  try {
    return parseLinearAddress(words.get(key) ?? "");
  } catch {
    return null;
  }
}
