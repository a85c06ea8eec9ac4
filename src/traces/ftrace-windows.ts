/** Where a traced area lies here, and frees that wait. */
import { VMALLOC_END, VMALLOC_START } from "../../mm/index.ts";

/** A window of at least this many bytes is the traced kernel's vmalloc range, wherever it lies. */
export const VMALLOC_RANGE_BYTES_MIN = 2 ** 44;

/** The window of an allocation here: the traced kernel's vmalloc range may lie elsewhere (KASLR, five-level paging). */
export function windowOf(event: { readonly vstart: bigint; readonly vend: bigint }): [number, number] {
  if (event.vend - event.vstart >= BigInt(VMALLOC_RANGE_BYTES_MIN)) return [VMALLOC_START, VMALLOC_END];
  return [Number(BigInt.asUintN(48, event.vstart)), Number(BigInt.asUintN(48, event.vend))];
}

/** Whether an area that was found begins at the address. */
export const startsThere = (
  state: { areas: { startOf(area: number): number } },
  area: number,
  address: number,
): boolean => state.areas.startOf(area) === address;

/** A free of the trace. */
export interface WaitingFree {
  readonly address: bigint;
  readonly atCycles: number;
  readonly cpu: number;
  readonly line: number;
  /** Its place among all frees of the trace, from 1 on. */
  readonly number: number;
}
