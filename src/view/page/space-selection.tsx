/** What is at the walked address, and how the free tree is searched. */
import type { FreeNode, FreePath } from "../model/free-search.ts";
import type { Picture } from "../model/picture.ts";
import { look } from "./store.ts";
import { bytes, hex, plural } from "./words.ts";

const WHAT = {
  area: "Area",
  gap: "Gap",
  "pooled area": "Pooled area",
  "lazily freed area": "Lazily freed area",
} as const;

/** What is at the address: an area with its vm_struct, entries and node, or a gap. */
export function Selection({ picture }: { readonly picture: Picture }) {
  const { what, start, end, facts, path } = picture.selection;
  if (what === "outside") return null;
  return (
    <>
      <h3>
        {WHAT[what]} {hex(start)}, {bytes(end - start)}
      </h3>
      <dl class="outcomes facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {path.length === 0 ? null : <FreeNodes nodes={path} />}
    </>
  );
}

/** The last search for room: what was asked for, and the nodes that it went over. */
export function LastSearch({ search }: { readonly search: FreePath | null }) {
  if (search === null) return null;
  const { sizeBytes, align, vstart, nodes } = search;
  return (
    <details class="search">
      <summary>
        Last search of the free tree: {bytes(sizeBytes)}
        {align > 4096 ? `, aligned to ${bytes(align)}` : ""} from {hex(vstart)}, {plural(nodes.length, "node", "nodes")}
      </summary>
      <FreeNodes nodes={nodes} />
    </details>
  );
}

const WENT: Readonly<Record<FreeNode["went"], string>> = {
  left: "to the left: it promises room at a lower address",
  right: "to the right: no room here",
  up: "back up: no room here or below",
  taken: "this gap",
  nowhere: "nowhere: no room",
};

function FreeNodes({ nodes }: { readonly nodes: readonly FreeNode[] }) {
  const size = (promised: number | null): string => (promised === null ? "none" : bytes(promised));
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">gap from</th>
          <th scope="col">size</th>
          <th scope="col">subtree_max_size</th>
          <th scope="col">left, right</th>
          <th scope="col">went</th>
        </tr>
      </thead>
      <tbody>
        {nodes.map((node, i) => (
          // A search that comes back up passes a node twice.
          <tr key={`${i} ${node.start}`} class="free-node">
            <td>
              <button type="button" class="address" onClick={() => look({ address: node.start })}>
                {hex(node.start)}
              </button>
            </td>
            <td>{bytes(node.end - node.start)}</td>
            <td>{bytes(node.subtreeMaxSize)}</td>
            <td>
              {size(node.leftMaxSize)}, {size(node.rightMaxSize)}
            </td>
            <td>{WENT[node.went]}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
