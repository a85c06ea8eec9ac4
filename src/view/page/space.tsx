/** The vmalloc range: areas side by side, each with its kind, and the pages of blocks. */
import { AREA_KINDS } from "../model/area-kinds.ts";
import type { Picture } from "../model/picture.ts";
import type { SpaceArea, SpaceMap } from "../model/space-view.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { Rows } from "./rows.tsx";
import { Scroll } from "./scroll.tsx";
import { firstAbove, SpaceMapView } from "./space-map.tsx";
import { LastSearch, Selection } from "./space-selection.tsx";
import { before, look } from "./store.ts";
import { bytes, count, hex, plural } from "./words.ts";

const BAR_HEIGHT = 56;

/** Whether an area was on the map already. */
function hasArea(map: SpaceMap, { start, end, kind }: SpaceArea): boolean {
  const at = firstAbove(map, start);
  return map.starts[at] === start && map.ends[at] === end && AREA_KINDS[map.kinds[at]] === kind;
}

/** Width of a gap between areas, whatever its size. */
const GAP_PIXELS = 6;

/** Where each area is drawn: by size in pages, on a logarithmic scale, as sizes run from one page to 32 TiB. */
function places(areas: readonly SpaceArea[], width: number): { readonly x: number; readonly width: number }[] {
  const weights = areas.map(({ start, end }) => 1 + Math.log2((end - start) / 4096));
  const gaps = areas.map(({ start }, i): number => (i > 0 && areas[i - 1].end < start ? GAP_PIXELS : 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const room =
    width -
    Math.min(
      width / 2,
      gaps.reduce((sum, gap) => sum + gap, 0),
    );
  const shrink = Math.min(
    1,
    width /
      2 /
      Math.max(
        1,
        gaps.reduce((sum, gap) => sum + gap, 0),
      ),
  );
  let x = 0;
  return weights.map((weight, i) => {
    x += gaps[i] * shrink;
    const place = { x, width: Math.min((weight / total) * room, 90) };
    x += place.width;
    return place;
  });
}

/** How many of the areas of before are there no more. Both are in order. */
function goneOf(old: SpaceMap, now: SpaceMap): number {
  let gone = 0;
  let at = 0;
  for (let i = 0; i < old.starts.length; i++) {
    if (AREA_KINDS[old.kinds[i]] === "pooled") continue;
    while (at < now.starts.length && now.starts[at] < old.starts[i]) at++;
    const same = now.starts[at] === old.starts[i] && now.ends[at] === old.ends[i] && now.kinds[at] === old.kinds[i];
    if (!same) gone++;
  }
  return gone;
}

/** The view. */
export function Space({ picture }: { readonly picture: Picture }) {
  const { space, walk } = picture;
  const { areas } = space;
  const old = before.value?.space.map ?? null;
  const isNew = (area: SpaceArea): boolean => old !== null && !hasArea(old, area);
  const gone = old === null ? 0 : goneOf(old, space.map);
  const draw = (surface: Surface): void => drawAreas(surface, areas, walk.address, isNew);
  const pick = (x: number, _y: number, width: number): void => {
    const at = places(areas, width).findIndex((place) => place.x <= x && x < place.x + place.width);
    if (at >= 0) look({ address: areas[at].start });
  };
  const label = `The vmalloc range from ${hex(space.rangeStart)}: ${plural(space.areaCount, "area", "areas")}, ${count(space.lazyPages)} of at most ${count(space.lazyMaxPages)} lazily freed pages.`;
  return (
    <section class="view" id="space" aria-labelledby="space-title">
      <h2 id="space-title">Space</h2>
      <p class="figures">
        {picture.machine}; Linux {picture.kernelVersion}; {plural(space.areaCount, "area", "areas")};{" "}
        {plural(space.allocatedPages, "page", "pages")} allocated; lazily freed:{" "}
        <strong>{count(space.lazyPages)}</strong> of {count(space.lazyMaxPages)} pages
        {gone > 0 ? <em>; {plural(gone, "area has", "areas have")} gone in this step</em> : null}
      </p>
      <SpaceMapView picture={picture} />
      <Canvas label={label} height={BAR_HEIGHT} draw={draw} onPick={pick} />
      <ul class="legend" aria-label="Kinds of areas">
        {AREA_KINDS.filter((_, kind) => space.map.kinds.includes(kind)).map((kind) => (
          <li key={kind}>
            <span class={`swatch kind-${kind.replaceAll(" ", "-")}`} /> {kind}
          </li>
        ))}
        {areas.some(({ used }) => used > 0) ? (
          <li>
            <span class="swatch swatch-used" /> page of a block in use
          </li>
        ) : null}
        {areas.some(({ dirty }) => dirty > 0) ? (
          <li>
            <span class="swatch swatch-stale" /> given back, not flushed
          </li>
        ) : null}
      </ul>
      <Scroll label="List of areas">
        <Selection picture={picture} />
        <LastSearch search={picture.lastSearch} />
        <table id="areas">
          <thead>
            <tr>
              <th scope="col">from</th>
              <th scope="col">size</th>
              <th scope="col">kind</th>
              <th scope="col">caller</th>
            </tr>
          </thead>
          <Rows
            of={areas}
            row={(area) => <Row key={area.start} area={area} isNew={isNew(area)} address={walk.address} />}
          />
        </table>
        {space.omitted > 0 ? <p>{count(space.omitted)} more areas of this part are not listed: go closer.</p> : null}
      </Scroll>
    </section>
  );
}

/** An area in the list. */
function Row({
  area,
  isNew,
  address,
}: {
  readonly area: SpaceArea;
  readonly isNew: boolean;
  readonly address: number;
}) {
  return (
    <tr class={isNew ? "new" : ""}>
      <td>
        <button
          type="button"
          class="address"
          aria-current={area.start <= address && address < area.end}
          onClick={() => look({ address: area.start })}
        >
          {hex(area.start)}
        </button>
      </td>
      <td>{bytes(area.end - area.start)}</td>
      <td>
        <span class={`swatch kind-${area.kind.replaceAll(" ", "-")}`} /> {area.kind}
        {isNew ? <em> new</em> : null}
      </td>
      <td>
        {area.caller}
        {area.kind === "block" ? `${area.used} used, ${area.dirty} given back, ${area.free} free` : ""} {area.more}
      </td>
    </tr>
  );
}

function drawAreas(
  { context, width, height, colour }: Surface,
  areas: readonly SpaceArea[],
  address: number,
  isNew: (area: SpaceArea) => boolean,
): void {
  context.fillStyle = colour("panel-deep");
  context.fillRect(0, 0, width, height);
  const placed = places(areas, width);
  areas.forEach((area, i) => {
    const place = placed[i];
    const inner = Math.max(1, place.width - 1);
    context.fillStyle = colour(`kind-${area.kind.replaceAll(" ", "-")}`);
    context.fillRect(place.x, 8, inner, height - 16);
    if (area.kind === "block") drawBlock(context, area, place.x, inner, height, colour);
    if (isNew(area)) {
      context.fillStyle = colour("accent");
      context.fillRect(place.x, 0, inner, 4);
    }
    if (area.start <= address && address < area.end) {
      context.fillStyle = colour("text");
      context.fillRect(place.x, height - 4, inner, 4);
    }
  });
}

/** The state of a block's pages, drawn as columns. */
function drawBlock(
  context: CanvasRenderingContext2D,
  { pageMap }: SpaceArea,
  x: number,
  width: number,
  height: number,
  colour: (name: string) => string,
): void {
  const columns = Math.max(1, Math.floor(width));
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * pageMap.length) / columns);
    const part = pageMap.slice(from, Math.max(from + 1, Math.floor(((column + 1) * pageMap.length) / columns)));
    const state = part.includes("d") ? "stale" : part.includes("u") ? "accent" : "panel";
    context.fillStyle = colour(state);
    context.fillRect(x + (column * width) / columns, 20, Math.ceil(width / columns), height - 40);
  }
}
