/** The tables of `docs/costs.md` and `docs/cost-sources.md`, made from the figures themselves. */
import { figuresOf, type NamedFigure, PRESETS, type Preset } from "../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, kernelFiguresOf } from "../mm/index.ts";
import { hypervisorFigures } from "../src/guests/hypervisor-costs.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** What kernel code costs: a row a figure, the same for all presets. */
export function kernelTable(): string {
  return tableOf(kernelFiguresOf(DEFAULT_KERNEL_COSTS));
}

/** What the code of a guest's hypervisor costs, as well. */
export function hypervisorTable(): string {
  return tableOf(hypervisorFigures());
}

function tableOf(figures: readonly NamedFigure[]): string {
  const rows = figures.map(
    ({ name, value, unit, basis, source }) => `| \`${name}\` | ${value} | ${unit} | ${basis} | ${cell(source)} |`,
  );
  return ["| figure | value | unit | basis | source |", "|---|---:|---|---|---|", ...rows].join("\n");
}

/** What the hardware of a preset costs. */
function hardwareFigures(preset: Preset): NamedFigure[] {
  const isCost = ({ name }: NamedFigure): boolean =>
    /^(?:costs|lineTransfers|sharedCore|overlap|memory|frequencyGhz|mitigations|idleStates)\b/.test(name) ||
    /^(?:dataCaches\.\d+\.hitCycles|virtualization\.costs\..*)$/.test(name);
  return figuresOf(preset, { guests: true, overlap: true, mitigations: true, idleStates: true }).filter(isCost);
}

/** What the hardware costs: a row a figure, a column a preset, with the first letter of its basis. */
export function hardwareTable(): string {
  const columns = PRESETS.map((preset) => new Map(hardwareFigures(preset).map((each) => [each.name, each])));
  const names = hardwareNames();
  const rows = names.map((name) => {
    const cells = columns.map((column) => {
      const figure = column.get(name);
      return figure === undefined ? "-" : `${figure.value} ${figure.basis[0]}`;
    });
    const unit = columns.find((column) => column.has(name))?.get(name)?.unit ?? "";
    return `| \`${name}\` | ${unit} | ${cells.join(" | ")} |`;
  });
  const head = `| figure | unit | ${PRESETS.map(({ name }) => name).join(" | ")} |`;
  return [head, `|---|---|${PRESETS.map(() => "---:|").join("")}`, ...rows].join("\n");
}

/** Where they are from: a row for each figure and source, with the presets that have it from there. */
export function sourcesTable(): string {
  const rows = hardwareNames().flatMap((name) => {
    const bySource = new Map<string, string[]>();
    for (const preset of PRESETS) {
      const figure = hardwareFigures(preset).find((each) => each.name === name);
      if (figure === undefined) continue;
      const source = `${figure.basis} | ${cell(figure.source)}`;
      bySource.set(source, [...(bySource.get(source) ?? []), preset.name]);
    }
    return [...bySource].map(([source, presets]) => `| \`${name}\` | ${presets.join(", ")} | ${source} |`);
  });
  return ["| figure | presets | basis | source |", "|---|---|---|---|", ...rows].join("\n");
}

function hardwareNames(): string[] {
  return [...new Set(PRESETS.flatMap((preset) => hardwareFigures(preset).map(({ name }) => name)))];
}
