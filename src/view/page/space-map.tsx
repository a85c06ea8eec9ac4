/** A map of the vmalloc range to scale, from all of it to one page. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { Picture } from "../model/picture.ts";
import { type AddressWindow, AREA_KINDS, type SpaceMap } from "../model/space-view.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { focus, look } from "./store.ts";
import { bytes, hex } from "./words.ts";

const HEIGHT = 44;

/** What the map shows: the window that one chose, or from the first area to the last. */
function windowOf({ space }: Picture): AddressWindow {
  const { starts, ends } = space.map;
  const chosen = focus.value.window;
  if (chosen != null) return chosen;
  if (starts.length === 0) return { start: space.rangeStart, end: space.rangeEnd };
  return { start: starts[0], end: ends[ends.length - 1] };
}

/** A part of the range, as near to the wanted one as it can be. */
function within({ space }: Picture, start: number, length: number): AddressWindow {
  const whole = space.rangeEnd - space.rangeStart;
  const pages = Math.max(1, Math.min(whole, length) / PAGE_SIZE);
  const bytes_ = Math.round(pages) * PAGE_SIZE;
  const first = Math.min(Math.max(start, space.rangeStart), space.rangeEnd - bytes_);
  return { start: Math.floor(first / PAGE_SIZE) * PAGE_SIZE, end: Math.floor(first / PAGE_SIZE) * PAGE_SIZE + bytes_ };
}

/** The map with what moves it. */
export function SpaceMapView({ picture }: { readonly picture: Picture }) {
  const { space, walk } = picture;
  const window_ = windowOf(picture);
  const { start, end } = window_;
  const length = end - start;
  const show = (next: AddressWindow | null): void => look({ window: next });
  // Closer to the address that is walked, if it is to be seen.
  const centre = start <= walk.address && walk.address < end ? walk.address : start + length / 2;
  const zoom = (factor: number): void => show(within(picture, centre - (length * factor) / 2, length * factor));
  const draw = (surface: Surface): void => drawMap(surface, space.map, window_, walk.address);
  const pick = (x: number, _y: number, width: number): void => {
    const at = start + Math.floor(((x / width) * length) / PAGE_SIZE) * PAGE_SIZE;
    look({ address: areaNear(space.map, at, (3 * length) / width) });
  };
  const label = `Map from ${hex(start)} to ${hex(end)}, ${bytes(length)}: areas by kind, to scale`;
  return (
    <>
      <fieldset class="row" aria-label="Part of the range">
        <button type="button" disabled={length <= PAGE_SIZE} onClick={() => zoom(1 / 4)}>
          Closer
        </button>
        <button type="button" disabled={length >= space.rangeEnd - space.rangeStart} onClick={() => zoom(4)}>
          Wider
        </button>
        <button
          type="button"
          aria-label="Lower addresses"
          onClick={() => show(within(picture, start - length / 2, length))}
        >
          ◀
        </button>
        <button
          type="button"
          aria-label="Higher addresses"
          onClick={() => show(within(picture, start + length / 2, length))}
        >
          ▶
        </button>
        <button type="button" onClick={() => show(null)}>
          In use
        </button>
        <button type="button" onClick={() => show({ start: space.rangeStart, end: space.rangeEnd })}>
          All
        </button>
        <small>
          {hex(start)}, {bytes(length)}
        </small>
      </fieldset>
      <Canvas label={label} height={HEIGHT} draw={draw} onPick={pick} />
    </>
  );
}

/** Index of the first area that ends above an address. */
export function firstAbove({ ends }: SpaceMap, address: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle] <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The address itself where an area holds it; else the begin of an area that is drawn as near as a finger or a mouse can tell. */
function areaNear(map: SpaceMap, address: number, reach: number): number {
  const at = firstAbove(map, address);
  if (at < map.starts.length && map.starts[at] <= address + reach) return Math.max(address, map.starts[at]);
  if (at > 0 && map.ends[at - 1] >= address - reach) return map.starts[at - 1];
  return address;
}

/** Draws each area as wide as it is, at least a pixel; of many in one pixel, one of each kind that comes. */
function drawMap(
  { context, width, height, colour }: Surface,
  map: SpaceMap,
  window_: AddressWindow,
  address: number,
): void {
  const { start, end } = window_;
  const scale = width / (end - start);
  const colours = AREA_KINDS.map((kind) => colour(`kind-${kind.replaceAll(" ", "-")}`));
  context.fillStyle = colour("panel-deep");
  context.fillRect(0, 0, width, height);
  const { starts, ends, kinds } = map;
  let drawnTo = -1;
  let drawn = -1;
  for (let i = firstAbove(map, start); i < starts.length && starts[i] < end; i++) {
    const x = Math.max(0, (starts[i] - start) * scale);
    const to = Math.min(width, (ends[i] - start) * scale);
    const right = Math.max(to, x + 1);
    if (right <= drawnTo && kinds[i] === drawn) continue;
    // A line of background between areas that are wide enough for it.
    const gap = to - x > 4 ? 1 : 0;
    context.fillStyle = colours[kinds[i]];
    context.fillRect(x, 6, right - x - gap, height - 12);
    drawnTo = Math.ceil(right);
    drawn = kinds[i];
  }
  if (address < start || address >= end) return;
  context.fillStyle = colour("text");
  context.fillRect((address - start) * scale - 1, 0, 3, height);
}
