/** Reports on address ranges, for people to read. */
import prettyBytes from "pretty-bytes";
import { type Cell, renderTable } from "../report/tables.ts";
import type { HoldingChange, SpaceChanges } from "./space-changes.ts";
import type { Fit, Holding, LargestHole, SpaceReport } from "./space-report.ts";

/** The report as text. @param top how many holders are listed */
export function renderSpace(report: SpaceReport, top: number): string {
  const { format, kinds, holders, holes, fit, window } = report;
  const isDump = format === "page_tables";
  const what = isDump ? "runs" : "areas";
  const sections = [
    `${report.file} (${format}): the ${window.name} range, ${window.start} to ${window.end}, ${binary(report.windowBytes)}\n` +
      `  place of the range: ${window.basis}\n` +
      `  in use ${binary(report.usedBytes)}, lazily freed ${binary(report.lazyBytes)}\n`,
    `By kind\n${holdingTable(kinds, what, kinds.length)}`,
    `By ${isDump ? "part of the address space" : "caller"}\n${holdingTable(holders, what, top)}`,
  ];
  if (holes === null) {
    sections.push(
      "The kernel hid the addresses, so that holes are not known (as root: sysctl kernel.kptr_restrict=1, and read it again)\n",
    );
  } else {
    const share = `${(holes.fragmentation * 100).toFixed(1)} % of the free bytes are not in the largest`;
    const rows = holes.classes.map((each): Cell[] => [
      `from ${binary(each.fromBytes)}`,
      each.holes,
      binary(each.bytes),
    ]);
    const note = isDump ? "  what no page is mapped in: areas without pages and guard pages count as free\n" : "";
    sections.push(
      `Holes: ${holes.count}, ${binary(holes.freeBytes)} in all; ${share}\n${note}${renderTable(["size", "holes", "bytes"], rows)}`,
      `Largest that fits, with its guard page\n${renderTable(["aligned to", "now", "after a purge", "at"], holes.largest.map(largestRow))}`,
    );
  }
  if (fit !== null) sections.push(fitText(fit, window.name));
  if (report.writableExecutableBytes !== null && report.writableExecutableBytes > 0) {
    sections.push(`Both writable and executable: ${binary(report.writableExecutableBytes)}\n`);
  }
  if (report.skippedLines > 0)
    sections.push(`${report.skippedLines} ${report.skippedLines === 1 ? "line was" : "lines were"} not understood\n`);
  return sections.join("\n");
}

/** What changed, as text. */
export function renderSpaceChanges(changes: SpaceChanges, top: number): string {
  const { before, newRanges, goneRanges, usedBytes, lazyBytes } = changes;
  const places =
    newRanges === null
      ? ""
      : `  ${newRanges} ${newRanges === 1 ? "range is" : "ranges are"} new, ${goneRanges} ${goneRanges === 1 ? "is" : "are"} gone\n`;
  const title = `Since ${before.file}\n${places}  in use ${signed(usedBytes)}, lazily freed ${signed(lazyBytes)}\n`;
  const largest = before.holes?.largest ?? [];
  const rows = largest.map(({ alignBytes, bytes }): Cell[] => [binary(alignBytes), binary(bytes)]);
  const holes = rows.length === 0 ? "" : `\nLargest hole before\n${renderTable(["aligned to", "bytes"], rows)}`;
  const fit = before.fit === null ? "" : `\nBefore: ${fitText(before.fit, before.window.name)}`;
  return `${title}\n${changeTable("kind", changes.kinds, top)}\n${changeTable("caller", changes.holders, top)}${holes}${fit}`;
}

function holdingTable(holdings: readonly Holding[], what: string, top: number): string {
  const row = ({ name, ranges, addressBytes, memoryBytes }: Holding): Cell[] => [
    name,
    ranges,
    binary(addressBytes),
    memoryBytes === 0 ? "" : binary(memoryBytes),
  ];
  const rest = holdings.slice(top);
  const more = rest.length === 0 ? [] : [row(sum(`${rest.length} others`, rest))];
  const rows = [...holdings.slice(0, top).map(row), ...more, row(sum("all", holdings))];
  return renderTable(["", what, "addresses", "memory"], rows);
}

function sum(name: string, holdings: readonly Holding[]): Holding {
  const of = (key: "ranges" | "addressBytes" | "memoryBytes"): number =>
    holdings.reduce((total, holding) => total + holding[key], 0);
  return { name, ranges: of("ranges"), addressBytes: of("addressBytes"), memoryBytes: of("memoryBytes") };
}

function changeTable(heading: string, changes: readonly HoldingChange[], top: number): string {
  if (changes.length === 0) return `By ${heading}: no change\n`;
  const rows = changes
    .slice(0, top)
    .map((each): Cell[] => [
      each.name,
      `${each.ranges > 0 ? "+" : ""}${each.ranges}`,
      signed(each.addressBytes),
      each.memoryBytes === 0 ? "" : signed(each.memoryBytes),
    ]);
  return `By ${heading}\n${renderTable(["", "count", "addresses", "memory"], rows)}`;
}

function largestRow({ alignBytes, bytes, bytesAfterPurge, address }: LargestHole): Cell[] {
  return [binary(alignBytes), binary(bytes), binary(bytesAfterPurge), address ?? "nowhere"];
}

function fitText({ sizeBytes, alignBytes, address, addressAfterPurge }: Fit, range: string): string {
  const asked = `${binary(sizeBytes)} aligned to ${binary(alignBytes)}`;
  if (address !== null) return `${asked} fits in the ${range} range, lowest at ${address}\n`;
  if (addressAfterPurge !== null)
    return `${asked} fits in the ${range} range only after a purge, at ${addressAfterPurge}\n`;
  return `${asked} does not fit in the ${range} range, not after a purge either\n`;
}

function binary(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}

function signed(bytes: number): string {
  return prettyBytes(bytes, { binary: true, signed: true }).trim();
}
