/** Lines of `/proc/vmallocinfo` as typed records (`vmalloc_info_show` in `mm/vmalloc.c`): the writer and the reader. */
import { TextFormatError } from "../../arch/isa/errors.ts";
import {
  formatLinearAddress16,
  type LinearAddressBits,
  linearPageFromBigInt,
  parseAddress64,
} from "../../arch/isa/linear-address.ts";

/** One line of `/proc/vmallocinfo`. */
export interface VmallocinfoLine {
  readonly start: number;
  /** One past the last byte, guard page included. */
  readonly end: number;
  readonly sizeBytes: number;
  /** `symbol+0xoffset/0xsize`, with ` [module]` where it is in one; empty when the kernel knows none. */
  readonly caller: string;
  /** Pages allocated for the area; 0 when the line has no `pages=`. */
  readonly pages: number;
  /** The physical address that the area maps, or null. */
  readonly phys: number | null;
  /** `ioremap`, `sparse`, `vmalloc`, `vmap`, `user`, `dma-coherent`, `vpages`, `N0=3`, in the line's order. */
  readonly words: readonly string[];
  /** A `vm_map_ram` area or vmap block. */
  readonly vmMapRam: boolean;
  /** A lazily freed area. */
  readonly unpurged: boolean;
}

const RANGE = /^(0x[0-9a-f]{16})-(0x[0-9a-f]{16}) +(\d+) (.*)$/;
const CALLER = /^([^ =]+\+0x[0-9a-f]+\/0x[0-9a-f]+(?: \[[^\]]+\])?|0x[0-9a-f]+)(?: |$)/;

/**
 * Reads one line.
 * @throws TextFormatError when it is not a line of `/proc/vmallocinfo`, NonCanonicalAddress when an address is not canonical
 */
export function parseVmallocinfoLine(line: string): VmallocinfoLine {
  return parseLine(line, 48);
}

/**
 * Reads one line of any machine, with four levels of page tables or five; `start` and `end` are pages (arch/isa/linear-address.ts).
 * @throws TextFormatError when it is not a line of `/proc/vmallocinfo`, NonCanonicalAddress when an address is not canonical
 */
export function parseVmallocinfoLineOfAny(line: string): VmallocinfoLine {
  return parseLine(line, 57);
}

function parseLine(line: string, bits: LinearAddressBits): VmallocinfoLine {
  const match = RANGE.exec(line);
  if (match === null) throw new TextFormatError(line, `not a line of /proc/vmallocinfo: "${line}"`);
  const start = linearPageFromBigInt(parseAddress64(match[1]), bits);
  const end = linearPageFromBigInt(parseAddress64(match[2]), bits);
  const area = { start, end, sizeBytes: Number(match[3]) };
  const text = match[4];
  const bare = { ...area, caller: "", pages: 0, phys: null, words: [] };
  if (text === "vm_map_ram") return { ...bare, vmMapRam: true, unpurged: false };
  if (text === "unpurged vm_area") return { ...bare, vmMapRam: false, unpurged: true };

  const caller = CALLER.exec(text)?.[1] ?? "";
  let pages = 0;
  let phys: number | null = null;
  const words: string[] = [];
  for (const word of text.slice(caller.length).trim().split(" ")) {
    if (word.startsWith("pages=")) pages = Number(word.slice("pages=".length));
    else if (word.startsWith("phys=")) phys = Number(word.slice("phys=".length));
    else if (word !== "") words.push(word);
  }
  if (Number.isNaN(pages) || Number.isNaN(phys ?? 0))
    throw new TextFormatError(line, `bad pages= or phys= in "${line}"`);
  return { ...area, caller, pages, phys, words, vmMapRam: false, unpurged: false };
}

/** The line that a record stands for, without its newline. */
export function formatVmallocinfoLine(line: VmallocinfoLine): string {
  const range = `${formatLinearAddress16(line.start)}-${formatLinearAddress16(line.end)}`;
  const parts = [range, String(line.sizeBytes).padStart(7)];
  if (line.vmMapRam) parts.push("vm_map_ram");
  if (line.unpurged) parts.push("unpurged vm_area");
  if (line.caller !== "") parts.push(line.caller);
  if (line.pages !== 0) parts.push(`pages=${line.pages}`);
  if (line.phys !== null) parts.push(`phys=0x${line.phys.toString(16).padStart(16, "0")}`);
  parts.push(...line.words);
  return parts.join(" ");
}
