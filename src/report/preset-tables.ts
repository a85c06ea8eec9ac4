/** Presets and costs as tables for people, within 80 columns. */
import {
  countByBasis,
  type FiguresUsed,
  figuresOf,
  type NamedFigure,
  type Origin,
  type Preset,
} from "../../arch/index.ts";
import { INDENT, layOutRow, type TextColumn, wrapText } from "./column-layout.ts";
import { figureCounts, figureSentence, figureValue } from "./figures.ts";
import { renderTable } from "./tables.ts";

/** Whatever a machine may use of a preset. */
export const ALL_USED: FiguresUsed = { guests: true, overlap: true, mitigations: true, idleStates: true };
/** Columns of a terminal. */
const WIDTH = 80;
/** Widths of the columns of figures: name, value, basis, source. With indent and gaps they fill a line. */
const COLUMNS = [20, 13, 10, 29].map((width): TextColumn => ({ width, align: "left" }));

/** One line a preset. */
export function renderPresetList(presets: readonly Preset[]): string {
  const rows = presets.map((preset) => {
    const { measured, documented, assumed } = countByBasis(figuresOf(preset, ALL_USED));
    const part = preset.description.padEnd(Math.max(...presets.map(({ description }) => description.length)));
    const { firstLevel, secondLevel } = tlbEntries(preset);
    return [preset.name, part, `${firstLevel} + ${secondLevel}`, `${measured} / ${documented} / ${assumed}`];
  });
  return `${renderTable(["preset", "part", "TLB entries", "m / d / a"], rows)}
  TLB entries: for loads of 4 KiB pages, first level and second level together.
  m / d / a: figures that are measured, documented and assumed.
  mmulab presets NAME shows each of them; mmulab presets kernel, what kernel
  code costs, which is the same for all.
`;
}

/** Every figure of a preset; ends with a newline. */
export function renderPreset(preset: Preset): string {
  const { name, description, vendor, features, origins } = preset;
  const figures = figuresOf(preset, ALL_USED);
  const on = Object.entries(features).flatMap(([feature, isOn]) => (isOn ? [feature] : []));
  return `${name}: ${description} (vendor ${vendor})
  ${figureSentence(figureCounts(figures), "figures")}

features
${wrapped(`${on.join(" ")} (${originText(origins.features)})`)}
${renderFigures(figures, preset)}`;
}

/** Every cost of the kernel; ends with a newline. */
export function renderKernelCosts(figures: readonly NamedFigure[]): string {
  return `kernel: what kernel code costs, the same for all presets
  ${figureSentence(figureCounts(figures), "figures")}
${renderFigures(figures)}`;
}

/** What the hypervisor below a guest costs, figure by figure. */
export function renderHypervisorCosts(figures: readonly NamedFigure[]): string {
  return `hypervisor: what its own code costs below a guest, the same for all presets
  ${figureSentence(figureCounts(figures), "figures")}
${renderFigures(figures)}`;
}

/** Entries of the TLBs for loads of 4 KiB pages. */
export function tlbEntries({ tlbs }: Preset): { readonly firstLevel: number; readonly secondLevel: number } {
  const entries = (level: number): number =>
    tlbs
      .filter((tlb) => tlb.level === level && tlb.kinds.includes("load") && tlb.pageSizes.includes("4K"))
      .reduce((sum, { sets, ways }) => sum + sets * ways, 0);
  return { firstLevel: entries(1), secondLevel: entries(2) };
}

/** Figures under what they belong to, the path before the last name, with their sources; `preset` adds what each TLB is for. */
export function renderFigures(figures: readonly NamedFigure[], preset?: Preset): string {
  const groups = new Map<string, NamedFigure[]>();
  for (const figure of figures) {
    const path = groupOf(figure.name);
    groups.set(path, [...(groups.get(path) ?? []), figure]);
  }
  return [...groups]
    .map(([path, members]) => {
      const [{ of }] = members;
      const tlb = preset?.tlbs.find(({ name }) => name === of && path.startsWith("tlbs."));
      const what = tlb === undefined ? of : `${of}: level ${tlb.level}, ${tlb.kinds.join("+")}`;
      const heading = [path, what].filter((word) => word !== "").join("  ");
      return `${heading === "" ? "" : `\n${heading}\n`}${rowsOf(path, members)}`;
    })
    .join("");
}

/** `tlbs.0` of `tlbs.0.ways`; the distances of one cost stay together. */
function groupOf(name: string): string {
  return name.includes(".") ? name.slice(0, name.lastIndexOf(".")) : "";
}

function rowsOf(path: string, figures: readonly NamedFigure[]): string {
  const rows = figures.map((figure) => [
    path === "" ? figure.name : figure.name.slice(path.length + 1),
    figureValue(figure),
    figure.basis,
    figure.source,
  ]);
  return rows.map((row) => layOutRow(row, COLUMNS)).join("");
}

function originText({ basis, source }: Origin): string {
  return `${basis}: ${source}`;
}

/** Words in lines of at most `WIDTH` columns. */
function wrapped(text: string): string {
  return wrapText(text, WIDTH - INDENT.length)
    .map((line) => `${INDENT}${line}\n`)
    .join("");
}
