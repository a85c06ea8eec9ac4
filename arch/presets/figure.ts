/** Numbers of profiles with their units and sources: [F] found, [C] computed, [M] remembered. */
import type { Figure } from "./preset.ts";

/** A number of cycles and where it comes from. */
export function cycles(value: number, source: string): Figure {
  return { value, unit: "cycles", source };
}

/** A size in bytes and where it comes from. */
export function bytes(value: number, source: string): Figure {
  return { value, unit: "bytes", source };
}

/** An associativity and where it comes from. */
export function ways(value: number, source: string): Figure {
  return { value, unit: "ways", source };
}
