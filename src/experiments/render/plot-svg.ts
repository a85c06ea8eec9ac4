/** One plot as SVG, drawn by ECharts without a browser. */
import { init } from "echarts";
import type { Plot, Series } from "../base/experiment.ts";

const WIDTH = 860;
const PLOT_HEIGHT = 360;
const TOP = 20;
const LEFT = 110;
/** Room for the numbers and the name below the x axis. */
const AXIS_HEIGHT = 60;
const LEGEND_ROW_HEIGHT = 24;
/** Width of a legend's entry: its symbol, its text, the gap to the next one. */
const LEGEND_SYMBOL_WIDTH = 50;
const LEGEND_LETTER_WIDTH = 7;
/** Most numbers at the x axis. */
const TICKS_MAX = 18;

const SYMBOLS = ["circle", "rect", "triangle", "diamond", "emptyCircle", "emptyRect", "emptyTriangle", "emptyDiamond"];
const LINES = ["solid", "dashed", "dotted"];
/** Told apart by people who see colours differently (Okabe and Ito), yellow left out. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444", "#8a6d3b"];

/** The plot; its parts are numbered the same way whatever else was drawn before. */
export function renderPlot(plot: Plot): string {
  const { xName, yName, xLog, yLog, series } = plot;
  const legendRows = rowsOfLegend(series);
  const height = TOP + PLOT_HEIGHT + AXIS_HEIGHT + legendRows * LEGEND_ROW_HEIGHT;
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    backgroundColor: "#fff",
    color: COLOURS,
    textStyle: { fontFamily: "sans-serif" },
    legend: { type: "plain", bottom: 0, left: LEFT, width: WIDTH - LEFT, itemWidth: 34 },
    grid: { left: LEFT, right: 30, top: TOP, height: PLOT_HEIGHT },
    xAxis: {
      ...(xLog ? powersOfTwo(series) : { type: "value" }),
      name: xName,
      nameLocation: "middle",
      nameGap: 32,
      axisLine: { onZero: false },
      splitLine: { show: true, lineStyle: { color: "#eee" } },
    },
    yAxis: {
      type: yLog ? "log" : "value",
      name: yLog ? `${yName} (log scale)` : yName,
      nameLocation: "middle",
      nameGap: 84,
      axisLine: { show: true, onZero: false },
      minorSplitLine: { show: false },
    },
    series: series.map(({ name, points }, i) => ({
      name,
      type: "line",
      symbol: SYMBOLS[i % SYMBOLS.length],
      symbolSize: 7,
      // Curves that coincide stay visible: those drawn first are wider, and lines differ.
      lineStyle: { width: Math.max(1.5, 4.5 - i), type: LINES[i % LINES.length] },
      data: points.filter(([, y]) => !yLog || y > 0).map(([x, y]) => [xLog ? placeOf(x, zeroPlace(series)) : x, y]),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return stableIds(svg);
}

function rowsOfLegend(series: readonly Series[]): number {
  let rows = 1;
  let width = 0;
  for (const { name } of series) {
    const own = LEGEND_SYMBOL_WIDTH + name.length * LEGEND_LETTER_WIDTH;
    if (width + own > WIDTH - LEFT && width > 0) {
      rows++;
      width = 0;
    }
    width += own;
  }
  return rows;
}

/** A logarithmic axis with a number at each power of two (or every second one), and 0 to the left of them all. */
function powersOfTwo(series: readonly Series[]): object {
  const values = series.flatMap(({ points }) => points.map(([x]) => x));
  const positive = values.filter((x) => x > 0);
  const least = Math.floor(Math.log2(Math.min(...positive)));
  const most = Math.ceil(Math.log2(Math.max(...positive)));
  const zero = zeroPlace(series);
  const min = values.includes(0) ? zero : least;
  const interval = Math.max(1, Math.ceil((most - min) / TICKS_MAX));
  return {
    type: "value",
    min,
    max: Math.max(most, min + 1),
    interval,
    axisLabel: {
      formatter: (place: number) =>
        place === zero ? "0" : (2 ** place).toLocaleString("en-US", { maximumFractionDigits: 3 }),
    },
  };
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
