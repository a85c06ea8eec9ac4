/** Arithmetic on addresses and sizes without division: integers up to 2^53, of which bit operations see the low 32 bits. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";

const INT32_ALIGN_MAX = 2 ** 30;

/** `value` rounded up to a multiple of `align`, a power of two. */
export function alignUp(value: number, align: number): number {
  if (align > INT32_ALIGN_MAX) return Math.ceil(value / align) * align;
  const mask = align - 1;
  return value + ((align - (value & mask)) & mask);
}

/** Whether `value` is a multiple of `align`, a power of two. */
export function isAligned(value: number, align: number): boolean {
  return align > INT32_ALIGN_MAX ? value % align === 0 : (value & (align - 1)) === 0;
}

/** Whether `value` is a whole number of pages. */
export function isPageAligned(value: number): boolean {
  return (value & (PAGE_SIZE - 1)) === 0 && Number.isInteger(value);
}

/** The pages of a range of whole pages. An integer for V8 too, which a quotient is not. */
export function pagesIn(sizeBytes: number): number {
  return Math.floor(sizeBytes / PAGE_SIZE);
}
