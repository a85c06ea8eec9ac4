/** HTML reports: one file that needs nothing else, in the colours of the page of `mmulab view`, for light and dark, wide and narrow screens. */

/** A custom property of the stylesheet, with its colour on a light and on a dark screen. */
export interface PageColour {
  /** As src/view/page/style.css calls it: `--accent`. */
  readonly property: string;
  readonly light: string;
  readonly dark: string;
}

/** The colours of src/view/page/style.css that reports use; its tests compare them. */
export const PAGE_COLOURS = {
  page: { property: "--page", light: "#f4f5f7", dark: "#14161a" },
  panel: { property: "--panel", light: "#ffffff", dark: "#1d2026" },
  grid: { property: "--panel-deep", light: "#e6e8ec", dark: "#2c3038" },
  text: { property: "--text", light: "#16181d", dark: "#eceef2" },
  quiet: { property: "--quiet", light: "#4d5563", dark: "#aeb6c3" },
  line: { property: "--line", light: "#c9ced6", dark: "#434955" },
  blue: { property: "--accent", light: "#0060a8", dark: "#7cc4ff" },
  orange: { property: "--stale", light: "#e06000", dark: "#ff8f3a" },
  green: { property: "--kind-vmap", light: "#009e73", dark: "#1fb488" },
  purple: { property: "--kind-ioremap", light: "#cc79a7", dark: "#d48bb3" },
  grey: { property: "--kind-block", light: "#7d8a9c", dark: "#6d7a8c" },
  lime: { property: "--kind-vm_map_ram", light: "#8fc31f", dark: "#9fce3c" },
  sky: { property: "--kind-vmalloc", light: "#56b4e9", dark: "#4ba6da" },
} as const satisfies Record<string, PageColour>;

/** Below this width of the window a page shows what is drawn for narrow screens. */
const NARROW_PX = 640;

const STYLE = `:root { color-scheme: light dark; ${declarations("light")} }
@media (prefers-color-scheme: dark) { :root { ${declarations("dark")} } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 16px 12px 40px; overflow-wrap: anywhere; }
h1 { font-size: 1.5em; margin: 0.4em 0; } h2 { font-size: 1.15em; margin: 1.8em 0 0.4em; } h3 { font-size: 1em; margin: 1.4em 0 0.4em; }
.quiet, figcaption { color: var(--quiet); font-size: 13px; }
figure, .scroll { margin: 0; padding: 10px; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; }
figure svg { display: block; max-width: 100%; height: auto; font-family: system-ui, "DejaVu Sans", sans-serif; }
.y-name { margin: 0; font-size: 13px; } .narrow { display: none !important; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 4px 0; padding: 0; list-style: none; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 7px; min-width: 0; } .legend svg { flex: none; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 2px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th, td:not(:last-child), td.number { white-space: nowrap; } td:last-child:not(.number) { min-width: 15em; } .number { text-align: right; } thead th { border-bottom: 2px solid var(--quiet); vertical-align: bottom; }
@media (max-width: ${NARROW_PX}px) { .wide { display: none !important; } .narrow { display: block !important; } ul { padding-left: 20px; } .legend { padding: 0; } }`;

function declarations(scheme: "light" | "dark"): string {
  return Object.values(PAGE_COLOURS)
    .map((colour) => `${colour.property}: ${colour[scheme]};`)
    .join(" ");
}

/**
 * A whole page.
 * @param title text, not markup
 * @param head markup that the head holds besides
 * @param body markup
 */
export function htmlPage(title: string, head: string, body: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
${head}<style>
${STYLE}
</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

/** A column of a table of a page. */
export interface HtmlColumn {
  readonly heading: string;
  /** Whether it is aligned right. */
  readonly isNumber: boolean;
}

/**
 * A table in a box of its own, which scrolls sideways, by keys too.
 * @param name what it holds, for those who cannot see it
 * @param links a link for each row, or null for none, in a column more
 */
export function htmlTable(
  name: string,
  columns: readonly HtmlColumn[],
  rows: readonly (readonly string[])[],
  links: HtmlLinks | null = null,
): string {
  const kind = (i: number) => (columns[i].isNumber ? ' class="number"' : "");
  const head = columns.map(({ heading }, i) => `<th scope="col"${kind(i)}>${escapeHtml(heading)}</th>`).join("");
  const body = rows.map((row, r) => {
    const cells = row.map((cell, i) => `<td${kind(i)}>${escapeHtml(cell)}</td>`).join("");
    return `<tr>${cells}${links === null ? "" : linkCell(links, r)}</tr>`;
  });
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escapeHtml(name)}"><table>
<thead><tr>${head}${links === null ? "" : `<th scope="col">${escapeHtml(links.heading)}</th>`}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table></div>`;
}

/** A column of links. */
export interface HtmlLinks {
  readonly heading: string;
  /** What a link is for; the number of its row is added for those who cannot see it. */
  readonly text: string;
  readonly urls: readonly (string | null)[];
}

function linkCell({ text, urls }: HtmlLinks, row: number): string {
  const url = urls[row] ?? null;
  if (url === null) return "<td></td>";
  return `<td><a href="${escapeHtml(url)}" aria-label="${escapeHtml(text)}, row ${row + 1}">${escapeHtml(text)}</a></td>`;
}

/** A list of sentences. */
export function htmlList(sentences: readonly string[]): string {
  return `<ul>\n${sentences.map((sentence) => `<li>${escapeHtml(sentence)}</li>`).join("\n")}\n</ul>`;
}

/** Text as markup, also within quotes. */
export function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
