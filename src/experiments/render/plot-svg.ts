/** One plot as SVG, drawn by ECharts without a browser. */
import { init } from "echarts";
import { PAGE_COLOURS } from "../../report/html-page.ts";
import type { Plot, Series } from "../base/experiment.ts";
import { curveStyle } from "./plot-style.ts";

/** Measures of a plot in pixels. */
interface Size {
  readonly width: number;
  readonly height: number;
  /** Room for the numbers at the y axis, and its name where it has one. */
  readonly left: number;
  /** Distance of the name of the y axis; null: the page says it above the plot. */
  readonly yNameGap: number | null;
  /** Most numbers at the x axis. */
  readonly ticksMax: number;
  /** Whether numbers are short: `1.2M`. */
  readonly isCompact: boolean;
}

const SIZES: Readonly<Record<"wide" | "narrow", Size>> = {
  wide: { width: 860, height: 360, left: 110, yNameGap: 84, ticksMax: 18, isCompact: false },
  narrow: { width: 340, height: 250, left: 46, yNameGap: null, ticksMax: 6, isCompact: true },
};
const TOP = 20;
const RIGHT = 24;
/** Room for the numbers and the name below the x axis. */
const AXIS_HEIGHT = 54;
/** Times that the largest value must be the least before a logarithmic axis has powers of 10. */
const BASE_TEN_MIN = 100;
/** Steps of an axis that is not logarithmic and has room for few numbers. */
const FEW_STEPS = 4;

/**
 * The plot without its legend, in the page's colours; its parts are numbered the same way whatever else was drawn before.
 * @param size for a screen that is wide, or as narrow as a phone's
 */
export function renderPlot(plot: Plot, size: keyof typeof SIZES): string {
  const { xName, yName, xLog, yLog, series } = plot;
  const { width, height, left, yNameGap, ticksMax, isCompact } = SIZES[size];
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height: TOP + height + AXIS_HEIGHT });
  const { text, quiet, grid } = PAGE_COLOURS;
  const axis = {
    nameLocation: "middle",
    nameTextStyle: { color: text.light },
    axisLine: { show: true, onZero: false, lineStyle: { color: quiet.light } },
    axisTick: { lineStyle: { color: quiet.light } },
    splitLine: { show: true, lineStyle: { color: grid.light } },
    ...(isCompact ? { splitNumber: FEW_STEPS } : {}),
  };
  const labels = { color: quiet.light, formatter: (value: number) => numberText(value, isCompact) };
  const xAxis = xLog ? powersOfTwo(series, ticksMax) : { type: "value", axisLabel: labels };
  chart.setOption({
    animation: false,
    textStyle: { fontFamily: "sans-serif" },
    grid: { left, right: RIGHT, top: TOP, height },
    xAxis: { ...axis, ...xAxis, name: xName, nameGap: 32 },
    yAxis: {
      ...axis,
      ...(yLog ? { type: "log", logBase: logBaseOf(series) } : { type: "value" }),
      axisLabel: labels,
      minorSplitLine: { show: false },
      ...(yNameGap === null ? {} : { name: yLog ? `${yName} (log scale)` : yName, nameGap: yNameGap }),
    },
    series: series.map(({ name, points }, i) => {
      const { colour, symbol, line, widthPx } = curveStyle(i);
      return {
        name,
        type: "line",
        silent: true,
        emphasis: { disabled: true },
        symbol,
        symbolSize: 7,
        showAllSymbol: true,
        color: colour.light,
        lineStyle: { width: widthPx, type: line },
        data: points.filter(([, y]) => !yLog || y > 0).map(([x, y]) => [xLog ? placeOf(x, zeroPlace(series)) : x, y]),
      };
    }),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return inPageColours(stableIds(withoutClips(svg)));
}

/** The axes reach over all points. Clips would be found by names that plots of one page share, also those that are not displayed. */
function withoutClips(svg: string): string {
  return svg.replace(/<clipPath\b.*?<\/clipPath>\n?/gs, "").replace(/ clip-path="[^"]*"/g, "");
}

/** Colours by the names of the page's stylesheet, so that the plot follows the screen's scheme. Empty symbols are white. */
function inPageColours(svg: string): string {
  const properties = new Map<string, string>(
    Object.values(PAGE_COLOURS).map(({ light, property }) => [light, property]),
  );
  properties.set("#fff", PAGE_COLOURS.panel.property);
  return svg.replace(/#[0-9a-f]{3,6}\b/g, (colour) => {
    const property = properties.get(colour);
    return property === undefined ? colour : `var(${property})`;
  });
}

function numberText(value: number, isCompact: boolean): string {
  return value.toLocaleString(
    "en-US",
    isCompact ? { notation: "compact", maximumFractionDigits: 1 } : { maximumFractionDigits: 6 },
  );
}

/** A logarithmic axis with a number at each power of two (or every second one), and 0 to the left of them all. */
function powersOfTwo(series: readonly Series[], ticksMax: number): object {
  const values = series.flatMap(({ points }) => points.map(([x]) => x));
  const positive = values.filter((x) => x > 0);
  const least = Math.floor(Math.log2(Math.min(...positive)));
  const most = Math.ceil(Math.log2(Math.max(...positive)));
  const zero = zeroPlace(series);
  const min = values.includes(0) ? zero : least;
  const interval = Math.max(1, Math.ceil((most - min) / ticksMax));
  return {
    type: "value",
    min,
    max: Math.max(most, min + 1),
    interval,
    axisLabel: {
      color: PAGE_COLOURS.quiet.light,
      formatter: (place: number) => (place === zero ? "0" : numberText(2 ** place, false)),
      // A number that is rounded is no power of two: where there is no room for all, some are left out.
      hideOverlap: true,
    },
  };
}

/** The base of a logarithmic y axis: 10, or 2 where powers of 10 would be few numbers. */
function logBaseOf(series: readonly Series[]): number {
  const values = series.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => y > 0);
  return Math.max(...values) / Math.min(...values) < BASE_TEN_MIN ? 2 : 10;
}

/** Where 0 stands on an axis of powers of two: a step before the least of the others. */
function zeroPlace(series: readonly Series[]): number {
  const positive = series.flatMap(({ points }) => points.map(([x]) => x)).filter((x) => x > 0);
  return Math.floor(Math.log2(Math.min(...positive))) - 1;
}

function placeOf(x: number, zero: number): number {
  return x === 0 ? zero : Math.log2(x);
}

/** ECharts numbers its styles from 0 in each process; plots of one page, and of any page, are numbered in order here. */
function stableIds(svg: string): string {
  const names = new Map<string, string>();
  return svg.replace(/\bzr\d+-[a-z]+-?\d+\b/g, (id) => {
    const known = names.get(id) ?? `m${names.size}`;
    names.set(id, known);
    return known;
  });
}
