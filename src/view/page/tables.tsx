/** The page tables that translate an address, and the walk explained. */
import { parseLinearAddress } from "../../../arch/isa/linear-address.ts";
import type { Picture } from "../model/picture.ts";
import type { TableView } from "../model/table-view.ts";
import type { EntryBit, WalkLevel, WalkView } from "../model/walk-view.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { Scroll } from "./scroll.tsx";
import { before, look, problem } from "./store.ts";
import { hex, plural } from "./words.ts";

/** The view. */
export function Tables({ picture }: { readonly picture: Picture }) {
  const { walk, tables } = picture;
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const field = new FormData(event.currentTarget as HTMLFormElement).get("address");
    try {
      look({ address: parseLinearAddress(String(field).trim()) });
    } catch (error) {
      problem.value = error instanceof Error ? error.message : String(error);
    }
  };
  const result =
    walk.physical === null
      ? walk.outcome
      : `physical 0x${walk.physical.toString(16)}, a ${walk.pageSize} page, ${walk.memoryType}`;
  return (
    <section class="view" id="tables" aria-labelledby="tables-title">
      <h2 id="tables-title">Page tables</h2>
      <form class="row" onSubmit={submit}>
        <label>
          Walk <input name="address" key={walk.address} defaultValue={hex(walk.address)} spellcheck={false} size={20} />
        </label>
        <button type="submit">Walk</button>
        <span>
          on CPU {walk.cpu}: <strong>{result}</strong>
        </span>
      </form>
      <Scroll label="Levels of the walk">
        <table>
          <thead>
            <tr>
              <th scope="col">entry</th>
              <th scope="col">fetched from</th>
              <th scope="col">value</th>
              <th scope="col">bits</th>
            </tr>
          </thead>
          <tbody>
            {walk.levels.map((level) => (
              <Level key={level.level} level={level} table={tables.find((each) => each.level === level.level)} />
            ))}
            {walk.combined.length > 0 ? (
              <tr>
                <th scope="row">all levels</th>
                <td colSpan={2}>{result}</td>
                <td>
                  <Bits bits={walk.combined} />
                </td>
              </tr>
            ) : null}
          </tbody>
        </table>
        <SecondStage lines={walk.secondStage} />
        <Outcomes walk={walk} />
        <p class="source">What the page tables say now; a TLB may say something else. Intel SDM vol. 3A, 4.5 to 4.7.</p>
      </Scroll>
    </section>
  );
}

/** What an access would get, and what is cached. */
function Outcomes({ walk }: { readonly walk: WalkView }) {
  return (
    <dl class="outcomes">
      {walk.outcomes.map(({ access, code, errorCode, why }) => (
        <div key={access}>
          <dt>{access}</dt>
          <dd>
            {errorCode === null ? "allowed" : `#PF, error code 0x${errorCode.toString(16)} (${code})`}
            {why.length > 0 ? <small> {why.join("; ")}.</small> : null}
          </dd>
        </div>
      ))}
      <div>
        <dt>cached</dt>
        <dd>
          {walk.tlbs.length === 0
            ? "no TLB of this CPU has it"
            : walk.tlbs.map(({ tlb, frame }) => `${tlb}: frame 0x${frame.toString(16)}`).join("; ")}
        </dd>
      </div>
    </dl>
  );
}

function Level({ level, table }: { readonly level: WalkLevel; readonly table: TableView | undefined }) {
  const old = before.value?.walk.levels.find((each) => each.entryAddress === level.entryAddress);
  return (
    <tr class={old !== undefined && old.entry !== level.entry ? "new" : ""}>
      <th scope="row">
        {level.name} [{level.index}]{level.cachedIn.length > 0 ? <small> in {level.cachedIn.join(", ")}</small> : null}
      </th>
      <td>0x{level.entryAddress.toString(16)}</td>
      <td>
        {level.entry}
        {old !== undefined && old.entry !== level.entry ? <em> was {old.entry}</em> : null}
        {table === undefined ? null : <Entries table={table} />}
        <SecondStage lines={level.secondStage} />
      </td>
      <td>
        <Bits bits={level.bits} />
      </td>
    </tr>
  );
}

/** In a guest: the walk of the second stage, which the page of an entry, or of the access, is found by. */
function SecondStage({ lines }: { readonly lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <details class="second-stage">
      <summary>second stage</summary>
      <pre class="lines">{lines.join("\n")}</pre>
    </details>
  );
}

/** The 512 entries of a table as a strip: those that are present, and the one that the walk reads. */
function Entries({ table }: { readonly table: TableView }) {
  const { entries, walkedIndex } = table;
  const draw = ({ context, width, height, colour }: Surface): void => {
    context.fillStyle = colour("panel-deep");
    context.fillRect(0, 0, width, height);
    const cell = width / 512;
    for (const { index, leaf } of entries) {
      context.fillStyle = colour(leaf ? "kind-vmalloc" : "kind-vmap");
      context.fillRect(index * cell, 0, Math.max(1, cell), height);
    }
    context.fillStyle = colour("text");
    context.fillRect(walkedIndex * cell - 1, height - 3, Math.max(3, cell), 3);
  };
  return <Canvas label={`${plural(entries.length, "entry", "entries")} of 512 present`} height={10} draw={draw} />;
}

function Bits({ bits }: { readonly bits: readonly EntryBit[] }) {
  return (
    <span class="bits">
      {bits.map(({ name, isSet, meaning }) => (
        <span key={name} class={isSet ? "bit set" : "bit"} title={`${name} = ${isSet ? 1 : 0}: ${meaning}`}>
          {name}
          <span class="value">{isSet ? 1 : 0}</span>
        </span>
      ))}
    </span>
  );
}
