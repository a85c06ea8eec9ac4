/** Memory in all: free blocks by order, and the lines of `/proc/meminfo` and `/proc/vmstat` that concern what is emulated. */
import { MAX_PAGE_ORDER, type Zone } from "../../mm/frames/zone.ts";
import { FRAME_PAGE_TABLE, meminfoLine, vmallocMeminfo } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";

/** Zones as the kernel names them: memory below 4 GiB, and above. */
function nameOfZone({ startFrame }: Zone): string {
  return startFrame < 2 ** 20 ? "DMA32" : "Normal";
}

function freeBlocksOf(zone: Zone): number[] {
  return Array.from({ length: MAX_PAGE_ORDER + 1 }, (_, order) => zone.freeBlocksOf(order));
}

/** `/proc/buddyinfo`. */
export function buddyLines({ pages }: Kernel): string[] {
  return pages.zones.map((zone) => {
    const blocks = freeBlocksOf(zone).map((count) => `${String(count).padStart(6)} `);
    return `Node ${zone.node}, zone ${nameOfZone(zone).padStart(8)} ${blocks.join("")}`;
  });
}

/** Zones with their free blocks, by order. */
export function buddyData({ pages }: Kernel): object {
  const zones = pages.zones.map((zone) => ({
    node: zone.node,
    zone: nameOfZone(zone),
    freeBlocksByOrder: freeBlocksOf(zone),
  }));
  return { zones };
}

/** The lines of `/proc/meminfo`, in the kernel's order. `PageTables` counts those of user address spaces. */
export function meminfoLines({ pages, tables, vm }: Kernel): string[] {
  const kib = (count: number): number => count * 4;
  const userTables = countFrames(pages.zones, FRAME_PAGE_TABLE) - tables.tablePages;
  return [
    meminfoLine("MemTotal", kib(pages.totalPages)),
    meminfoLine("MemFree", kib(pages.freePages)),
    meminfoLine("PageTables", kib(userTables)),
    ...vmallocMeminfo(vm),
  ];
}

/** Figures of `/proc/meminfo` by name, in KiB. */
export function meminfoData(kernel: Kernel): object {
  return { kib: numbersByName(meminfoLines(kernel)) };
}

/** The counters of `/proc/vmstat` by name. */
export function vmstatData({ mm }: Kernel): object {
  return { counters: numbersByName(mm.flushing.vmstat.lines()) };
}

/** `NAME VALUE` and `NAME: VALUE kB` of both files. */
function numbersByName(lines: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    lines.map((line) => {
      const [name, value] = line.split(/:? +/);
      return [name, Number(value)];
    }),
  );
}

function countFrames(zones: readonly Zone[], use: number): number {
  let count = 0;
  for (const zone of zones) {
    const touched = zone.touchedEnd - zone.startFrame;
    for (let i = 0; i < touched; i++) if (zone.use[i] === use) count++;
  }
  return count;
}
