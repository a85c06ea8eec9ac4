/** The tables of `docs/costs.md`, made from the figures themselves. */
import { figuresOf, type NamedFigure, PRESETS } from "../arch/index.ts";
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

/** What the hardware costs: a row a figure, a column a preset, with the first letter of its basis. */
export function hardwareTable(): string {
  const isCost = ({ name }: NamedFigure): boolean =>
    /^(?:costs|lineTransfers|sharedCore|overlap|memory|frequencyGhz|mitigations|idleStates)\b/.test(name) ||
    /^(?:dataCaches\.\d+\.hitCycles|virtualization\.costs\..*)$/.test(name);
  const columns = PRESETS.map(
    (preset) =>
      new Map(
        figuresOf(preset, { guests: true, overlap: true, mitigations: true, idleStates: true })
          .filter(isCost)
          .map((each) => [each.name, each]),
      ),
  );
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
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
