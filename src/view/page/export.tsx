/** What is shown, as files: pictures of the views, the timeline, the state, all figures. */
import type { Picture } from "../model/picture.ts";
import { askForFile, problem, save } from "./store.ts";

const VIEWS = ["space", "tables", "tlbs", "time", "costs"] as const;
const VIEW_NAMES: Readonly<Record<(typeof VIEWS)[number], string>> = {
  space: "Space",
  tables: "Page tables",
  tlbs: "TLBs",
  time: "Time",
  costs: "Costs",
};

/** Chooses a file to save. */
export function Export({ picture }: { readonly picture: Picture }) {
  const choose = (what: string): void => {
    // What was wrong with another file says nothing of this one.
    problem.value = "";
    const [kind, view] = what.split(" ");
    if (kind === "timeline" || kind === "state") askForFile(kind);
    else if (kind === "json") save("json", new Blob([JSON.stringify(picture, null, 1)], { type: "application/json" }));
    else if (kind === "svg" || kind === "png") {
      saveView(view, kind).catch((error: unknown) => {
        problem.value = `the picture cannot be made: ${String(error)}`;
      });
    }
  };
  return (
    <label>
      Export{" "}
      <select
        class="menu"
        value=""
        onChange={(event) => {
          const { value } = event.currentTarget;
          event.currentTarget.value = "";
          event.currentTarget.blur();
          choose(value);
        }}
      >
        <option value="">…</option>
        <option value="timeline">Timeline (for ui.perfetto.dev)</option>
        <option value="state">State of the machine (for mmulab)</option>
        <option value="json">All that is shown (JSON)</option>
        {(["png", "svg"] as const).map((kind) => (
          <optgroup key={kind} label={kind.toUpperCase()}>
            {VIEWS.map((view) => (
              <option key={view} value={`${kind} ${view}`}>
                {VIEW_NAMES[view]}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}

async function saveView(id: string, kind: "svg" | "png"): Promise<void> {
  const view = document.getElementById(id);
  if (view === null) throw new Error(`there is no view ${id}`);
  const svg = svgOf(view);
  const image = new Blob([svg], { type: "image/svg+xml" });
  save(`${id}.${kind}`, kind === "svg" ? image : await pngOf(svg, view));
}

/** A view as it is on the screen: its markup with the page's rules in it, and its canvases as pictures. */
function svgOf(view: HTMLElement): string {
  const { width, height } = view.getBoundingClientRect();
  const copy = view.cloneNode(true) as HTMLElement;
  const canvases = copy.querySelectorAll("canvas");
  view.querySelectorAll("canvas").forEach((canvas, i) => {
    const image = document.createElement("img");
    image.src = canvas.toDataURL();
    image.alt = canvas.getAttribute("aria-label") ?? "";
    image.setAttribute("style", `display: block; width: ${canvas.clientWidth}px; height: ${canvas.clientHeight}px`);
    canvases[i].replaceWith(image);
  });
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].map(({ cssText }) => cssText));
  // Colours are those of the screen's scheme, whatever the viewer of the file prefers.
  const colours = [...new Set(rules.join("").match(/--[\w-]+(?=:)/g))].map(
    (name) => `${name}: ${getComputedStyle(document.documentElement).getPropertyValue(name)};`,
  );
  const style = document.createElement("style");
  style.textContent = `${rules.join("\n")}\n.export { ${colours.join(" ")} color: var(--text); font: 14px / 1.45 system-ui, "DejaVu Sans", sans-serif; }`;
  const frame = document.createElement("div");
  frame.className = "export";
  frame.append(style, copy);
  copy.style.height = `${height}px`;
  const markup = new XMLSerializer().serializeToString(frame);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><foreignObject width="100%" height="100%">${markup}</foreignObject></svg>`;
}

async function pngOf(svg: string, view: HTMLElement): Promise<Blob> {
  const { width, height } = view.getBoundingClientRect();
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob === null ? reject(new Error("no picture came")) : resolve(blob)), "image/png");
  });
}
