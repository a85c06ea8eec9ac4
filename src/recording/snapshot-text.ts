/** A vmalloc snapshot as text lines, in the recording's words, for comparison and for people. */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { VmallocSnapshot } from "../../mm/snapshot/vmalloc-snapshot.ts";

/** The parts of a snapshot that are compared one by one. */
export const SNAPSHOT_PARTS = ["free", "busy", "lazy", "pool", "vbfree", "vb", "meta"] as const;

/** A part of a snapshot, by the name that a recording gives it. */
export type SnapshotPart = (typeof SNAPSHOT_PARTS)[number];

/**
 * One part of a snapshot, a line a record. The free tree is in pre-order, busy and lazy areas in address order within each
 * node, pools in list order, blocks by CPU hash and then address, blocks with free space in the order of each CPU's list.
 */
export function snapshotLines(snapshot: VmallocSnapshot, part: SnapshotPart): string[] {
  const hex = formatLinearAddress;
  switch (part) {
    case "free":
      return snapshot.free.map(
        (gap) =>
          `free ${hex(gap.start)}-${hex(gap.end)} subtree_max=0x${gap.subtreeMaxSize.toString(16)} depth=${gap.depth}` +
          ` ${gap.black ? "black" : "red"} kids=${Number(gap.hasLeft) + 2 * Number(gap.hasRight)}`,
      );
    case "busy":
      return byNode(snapshot.busy).map((area) => {
        const { vm } = area;
        const use =
          vm === null
            ? ""
            : ` vm_flags=0x${vm.flags.toString(16)} requested_size=${vm.requestedSizeBytes} page_order=${vm.pageOrder}`;
        return `busy ${hex(area.start)}-${hex(area.end)} va_flags=${area.vaFlags} node=${area.node}${use}`;
      });
    case "lazy":
      return byNode(snapshot.lazy).map(
        (area) => `lazy ${hex(area.start)}-${hex(area.end)} va_flags=${area.vaFlags} node=${area.node}`,
      );
    case "pool":
      return [...snapshot.pool]
        .sort((a, b) => a.node - b.node || a.index - b.index)
        .map(
          (area) =>
            `pool ${hex(area.start)}-${hex(area.end)} va_flags=${area.vaFlags} node=${area.node}` +
            ` index=${area.index} len=${area.length}`,
        );
    case "vbfree":
      return [...snapshot.freeBlocks]
        .sort((a, b) => a.cpu - b.cpu)
        .map((block) => `vbfree ${hex(block.start)} cpu=${block.cpu} free=${block.free} dirty=${block.dirty}`);
    case "vb":
      return [...snapshot.blocks]
        .sort((a, b) => a.hash - b.hash || a.start - b.start)
        .map(
          (block) =>
            `vb ${hex(block.start)} cpu=${block.cpu} hash=${block.hash} free=${block.free} dirty=${block.dirty}` +
            ` dirty_min=${block.dirtyMin} dirty_max=${block.dirtyMax}`,
        );
    case "meta":
      return [`meta lazy_nr=${snapshot.lazyNr}`];
  }
}

/** Records node by node, each node's in the order in which they come. */
function byNode<T extends { readonly node: number }>(records: readonly T[]): T[] {
  return [...records].sort((a, b) => a.node - b.node);
}
