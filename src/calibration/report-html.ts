/** The report of a calibration: one HTML page that needs nothing else, for light and dark screens. */
import { figuresOf, type Preset } from "../../arch/index.ts";
import { plotFigure } from "../experiments/render/plot-html.ts";
import { figureCounts, figureSentence, figureValue } from "../report/figures.ts";
import { escapeHtml, htmlList, htmlPage, htmlTable } from "../report/html-page.ts";
import type { Calibration } from "./calibration.ts";
import type { MeasuredCurves } from "./curves.ts";
import { type ComparedCurve, relativeDifference } from "./emulated-curves.ts";
import type { Findings } from "./findings.ts";

/** What a report shows. */
export interface ReportContent {
  readonly calibration: Calibration;
  readonly curves: MeasuredCurves;
  readonly compared: readonly ComparedCurve[];
  readonly findings: Findings;
  readonly preset: Preset;
  /** The program and its version, the seed: what would make it again. */
  readonly provenance: string;
  /** What else the page's head holds. */
  readonly head: string;
}

const FIGURE_COLUMNS = ["figure", "value", "basis", "source"].map((heading) => ({ heading, isNumber: false }));
const WALK_COLUMNS = ["stride", "pages", "page tables", "page directories", "ns", "cycles"].map((heading) => ({
  heading,
  isNumber: true,
}));

/** The whole page. */
export function renderCalibration({
  calibration,
  curves,
  compared,
  findings,
  preset,
  provenance,
  head,
}: ReportContent): string {
  const figures = figuresOf(preset);
  const off = (relativeDifference(compared) * 100).toFixed(1);
  const { processor, madeBy } = curves.origin;
  const measuredBy = madeBy === "" ? "" : ` Curves measured by ${madeBy}.`;
  const rows = figures.map((each) => [
    `${each.name}${each.of === "" ? "" : `, ${each.of}`}`,
    figureValue(each),
    each.basis,
    each.source,
  ]);
  const body = `<h1>${escapeHtml(processor === "" ? "Calibration" : processor)}</h1>
<p class="measured"><strong>Measured on this processor:</strong> how long a load takes, in nanoseconds, by the number of pages that loads go
round in and their distance; beside it the same loads on the emulated processor, with the preset made from them.</p>
<p class="quiet">${escapeHtml(provenance)}.${escapeHtml(measuredBy)} ${escapeHtml(figureSentence(figureCounts(figures)))}.</p>
<h2>Found</h2>
${htmlList(findings.found)}
<h2>Not measured</h2>
${htmlList(findings.notMeasured)}
<h2>Curves, measured beside emulated</h2>
<p>Dependent loads, one a page, in random cyclic orders. The preset's times differ from those measured by ${off} % (root mean square
over all points shown). Beyond ${lastEmulated(compared)} pages the data itself leaves the first-level data cache, which the emulator does not follow.</p>
${compared.map(figureOf).join("\n")}
${walkTable(calibration)}
<h2>Figures of the preset</h2>
${htmlTable("Figures of the preset", FIGURE_COLUMNS, rows)}`;
  return htmlPage("Calibration", head, body);
}

function lastEmulated(compared: readonly ComparedCurve[]): number {
  return Math.max(0, ...compared.flatMap(({ emulated }) => emulated.map(({ pages }) => pages)));
}

function figureOf({ stride, measured, emulated }: ComparedCurve): string {
  const title = `Pages ${stride} apart`;
  const points = (of: ComparedCurve["measured"]) => of.map(({ pages, ns }): [number, number] => [pages, ns]);
  const figure = plotFigure({
    title,
    xName: "pages",
    yName: "ns a load",
    xLog: true,
    yLog: true,
    series: [
      { name: "measured", points: points(measured) },
      { name: "emulated with the preset", points: points(emulated) },
    ],
  });
  return `<h3>${title}</h3>\n${figure}`;
}

function walkTable({ walks, ghz }: Calibration): string {
  if (walks.length === 0) return "";
  const rows = walks.map(({ stride, pages, tables, directories, walkNs }) =>
    [stride, pages, tables, directories, walkNs.toFixed(1), (walkNs * ghz).toFixed(0)].map(String),
  );
  return `<h2>Walks by footprint</h2>
<p>What a load that walks takes beyond one that the first level translates.</p>
${htmlTable("Walks by footprint", WALK_COLUMNS, rows)}`;
}
