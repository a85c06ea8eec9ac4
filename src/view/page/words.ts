/** Figures and addresses as the page writes them. */
import { formatLinearAddress16 } from "../../../arch/isa/linear-address.ts";

/** `0xffffc90000000000`. */
export const hex = formatLinearAddress16;

/** `4 KiB`, `2 MiB`, `32 TiB`. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `12,345`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** `3 entries`, `1 entry`. */
export function plural(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
