/**
 * Where areas are while a recording's calls are made. The kernel takes any address in an area for the area (`remove_vm_area` looks for what contains
 * it), so a replay would not notice an address that was changed; but nobody frees by another address than the one that a call returned.
 */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { BusyAreaRecord } from "../../mm/snapshot/vmalloc-snapshot.ts";
import type { RecordedCall } from "./line-schemas.ts";

/** The first addresses of all areas that calls may free. */
export class KnownAreas {
  private readonly starts = new Set<number>();

  /** Begins with the areas of the initial state. */
  begin(busy: readonly Pick<BusyAreaRecord, "start" | "vm">[]): void {
    for (const { start, vm } of busy) if (vm !== null) this.starts.add(start);
  }

  /** Takes the next call; what is wrong with the address that it names, or null. */
  problem(call: RecordedCall): string | null {
    if ("addr" in call && call.call !== "vm_unmap_ram") {
      const { addr } = call;
      if (addr !== 0 && !this.starts.has(addr)) return `"addr" is ${formatLinearAddress(addr)}, where no area begins`;
      const isKept = call.call === "vrealloc" && (call.ret === 0 ? call.size > 0 : call.ret === addr);
      if (!isKept) this.starts.delete(addr);
    }
    // What vm_map_ram maps is part of a vmap block, or an area that vm_unmap_ram frees by any address in it.
    if ("ret" in call && call.ret !== 0 && call.call !== "vm_map_ram") this.starts.add(call.ret);
    return null;
  }
}
