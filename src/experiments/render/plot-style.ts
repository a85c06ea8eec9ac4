/** How the curves of a plot are told apart: by colour, by the symbol at each point, by how the line is broken. */
import { PAGE_COLOURS, type PageColour } from "../../report/html-page.ts";

/** How a curve is drawn. */
export interface CurveStyle {
  readonly colour: PageColour;
  readonly symbol: CurveSymbol;
  readonly line: keyof typeof DASHES;
  readonly widthPx: number;
}

type CurveSymbol = (typeof SYMBOLS)[number];

/** Told apart by people who see colours differently: those of Okabe and Ito that the page has. */
const { blue, orange, green, purple, text, grey, lime, sky } = PAGE_COLOURS;
const COLOURS = [blue, orange, green, purple, text, grey, lime, sky];
const SYMBOLS = [
  "circle",
  "rect",
  "triangle",
  "diamond",
  "emptyCircle",
  "emptyRect",
  "emptyTriangle",
  "emptyDiamond",
] as const;
const DASHES = { solid: "", dashed: "7 4", dotted: "2 3" } as const;
const LINES = ["solid", "dashed", "dotted"] as const;

/** The style of the curve with that number. Curves that coincide stay visible: those drawn first are wider, and lines differ. */
export function curveStyle(index: number): CurveStyle {
  return {
    colour: COLOURS[index % COLOURS.length],
    symbol: SYMBOLS[index % SYMBOLS.length],
    line: LINES[index % LINES.length],
    widthPx: Math.max(1.5, 4.5 - index),
  };
}

/** A piece of the curve with its symbol, as SVG of 34 x 14 for a legend. */
export function legendSymbol(index: number): string {
  const { colour, symbol, line, widthPx } = curveStyle(index);
  const stroke = `var(${colour.property})`;
  const isEmpty = symbol.startsWith("empty");
  const fill = isEmpty ? `var(${PAGE_COLOURS.panel.property})` : stroke;
  const dash = DASHES[line] === "" ? "" : ` stroke-dasharray="${DASHES[line]}"`;
  return `<svg width="34" height="14" viewBox="0 0 34 14" aria-hidden="true"><path d="M0 7H34" stroke="${stroke}" stroke-width="${widthPx}"${dash}/><path d="${outlineOf(symbol)}" fill="${fill}" stroke="${stroke}" stroke-width="${isEmpty ? 2 : 0}"/></svg>`;
}

function outlineOf(symbol: CurveSymbol): string {
  if (symbol.endsWith("ircle")) return "M13 7a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z";
  if (symbol.endsWith("ect")) return "M13 3h8v8h-8z";
  if (symbol.endsWith("riangle")) return "M17 3l4 8h-8z";
  return "M17 2l4 5l-4 5l-4 -5z";
}
