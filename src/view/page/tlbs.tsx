/** A CPU's TLBs and paging-structure caches as sets x ways. */

import type { TlbSlot, TlbStructure } from "../../inspect/tlb-view.ts";
import type { Picture } from "../model/picture.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { Rows } from "./rows.tsx";
import { Scroll } from "./scroll.tsx";
import { before, look } from "./store.ts";
import { bytes, hex, plural } from "./words.ts";

const CELL = 9;
const ROWS_MAX = 100;

/** The view. */
export function Tlbs({ picture }: { readonly picture: Picture }) {
  const { tlb, staleByCpu, walk, clockCycles } = picture;
  const clocks = before.value?.clockCycles ?? clockCycles;
  const old = before.value?.tlb.cpu === tlb.cpu ? before.value.tlb : null;
  const known = new Set(old?.structures.flatMap((each) => each.slots.map((slot) => keyOf(each, slot))));
  const isNew = (structure: TlbStructure, slot: TlbSlot): boolean => old !== null && !known.has(keyOf(structure, slot));
  const covers = ({ la, sizeBytes }: TlbSlot): boolean => la <= walk.address && walk.address < la + sizeBytes;
  const rows = tlb.structures.flatMap((structure) =>
    structure.slots.filter(({ tableLevel }) => tableLevel === 0).map((slot) => ({ structure, slot })),
  );
  rows.sort((a, b) => Number(b.slot.stale !== null) - Number(a.slot.stale !== null));
  return (
    <section class="view" id="tlbs" aria-labelledby="tlbs-title">
      <h2 id="tlbs-title">TLBs</h2>
      <fieldset class="row" aria-label="CPU whose TLBs are shown">
        {staleByCpu.map((stale, cpu) => (
          <button key={cpu} type="button" aria-pressed={cpu === tlb.cpu} onClick={() => look({ cpu })}>
            CPU {cpu}
            {clocks[cpu] === clockCycles[cpu] ? null : <span title="acted in this step"> ●</span>}
            {stale > 0 ? <span class="stale-count"> {stale} stale</span> : null}
          </button>
        ))}
      </fieldset>
      <Scroll label="TLBs of the CPU">
        <div class="structures">
          {tlb.structures.map((structure) => (
            <Structure
              key={structure.name}
              structure={structure}
              isNew={(slot) => isNew(structure, slot)}
              covers={covers}
              gone={goneOf(
                structure,
                old?.structures.find(({ name }) => name === structure.name),
              )}
            />
          ))}
        </div>
        <table>
          <thead>
            <tr>
              <th scope="col">TLB</th>
              <th scope="col">page</th>
              <th scope="col">frame</th>
              <th scope="col">rights</th>
              <th scope="col">PCID</th>
            </tr>
          </thead>
          <Rows
            of={rows.slice(0, ROWS_MAX)}
            row={({ structure, slot }) => (
              <Row
                key={`${structure.name}${slot.set}.${slot.way}`}
                structure={structure}
                slot={slot}
                isNew={isNew(structure, slot)}
                isWalked={covers(slot)}
              />
            )}
          />
        </table>
        {rows.length > ROWS_MAX ? (
          <p>{rows.length - ROWS_MAX} more entries are not listed; the maps have all.</p>
        ) : null}
      </Scroll>
    </section>
  );
}

/** A translation in the list. */
function Row(props: {
  readonly structure: TlbStructure;
  readonly slot: TlbSlot;
  readonly isNew: boolean;
  readonly isWalked: boolean;
}) {
  const { structure, slot, isNew, isWalked } = props;
  return (
    <tr class={isNew ? "new" : ""}>
      <td>
        {structure.name} [{slot.set}, {slot.way}]
      </td>
      <td>
        <button type="button" class="address" aria-current={isWalked} onClick={() => look({ address: slot.la })}>
          {hex(slot.la)}
        </button>{" "}
        {slot.sizeBytes === 4096 ? "" : bytes(slot.sizeBytes)}
        {slot.stale === null ? null : (
          <span class="stale">
            {" "}
            stale: {slot.stale}
            {slot.owedBy === "" ? "" : `; owed by ${slot.owedBy}`}
          </span>
        )}
      </td>
      <td>0x{slot.frame.toString(16)}</td>
      <td>{slot.rights}</td>
      <td>{slot.pcid ?? "global"}</td>
    </tr>
  );
}

/** The entries of a structure as it was whose places are empty now. */
function goneOf({ slots }: TlbStructure, old: TlbStructure | undefined): TlbSlot[] {
  const used = new Set(slots.map(({ set, way }) => `${set} ${way}`));
  return (old?.slots ?? []).filter(({ set, way }) => !used.has(`${set} ${way}`));
}

function keyOf({ name }: TlbStructure, { set, way, la, frame, stale }: TlbSlot): string {
  return `${name} ${set} ${way} ${la} ${frame} ${stale === null}`;
}

function Structure(props: {
  readonly structure: TlbStructure;
  readonly isNew: (slot: TlbSlot) => boolean;
  readonly covers: (slot: TlbSlot) => boolean;
  /** Places that this step has emptied. */
  readonly gone: readonly TlbSlot[];
}) {
  const { structure, isNew, covers, gone } = props;
  const { name, kinds, sets, ways, slots, nextVictims } = structure;
  const stale = slots.filter((slot) => slot.stale !== null).length;
  const draw = ({ context, width, colour }: Surface): void => {
    const cell = Math.min(CELL, width / sets);
    const square = (set: number, way: number, name_: string, inset: number): void => {
      context.fillStyle = colour(name_);
      const size = Math.max(1, cell - 1 - 2 * inset);
      context.fillRect(set * cell + inset, way * CELL + inset, size, CELL - 1 - 2 * inset);
    };
    for (let set = 0; set < sets; set++) for (let way = 0; way < ways; way++) square(set, way, "panel-deep", 0);
    for (const { set, way } of gone) {
      square(set, way, "accent", 0);
      square(set, way, "panel-deep", 1);
    }
    for (const slot of slots) {
      const kind = slot.tableLevel > 0 ? "kind-vmap" : slot.sizeBytes > 4096 ? "kind-ioremap" : "kind-vmalloc";
      if (isNew(slot)) square(slot.set, slot.way, "accent", 0);
      square(slot.set, slot.way, slot.stale === null ? kind : "stale", isNew(slot) ? 2 : 0);
      if (covers(slot)) square(slot.set, slot.way, "text", 3);
    }
    nextVictims.forEach((way, set) => {
      if (way >= 0) square(set, way, "panel", 3);
    });
  };
  const label = `${name}: ${plural(slots.length, "entry", "entries")} of ${sets * ways}, ${stale} stale, ${sets} sets of ${ways} ways`;
  return (
    <figure style={{ "--full-width": `${sets * CELL}px` }}>
      <figcaption>
        {name} <small>({kinds})</small> {slots.length}/{sets * ways}
        {stale > 0 ? <span class="stale"> {stale} stale</span> : null}
        {gone.length > 0 ? <em> {gone.length} gone</em> : null}
      </figcaption>
      <div style={{ width: "min(100%, var(--full-width))" }}>
        <Canvas label={label} height={ways * CELL} draw={draw} />
      </div>
    </figure>
  );
}
