/** How a warm-up is written, and the most references that any number of them may be. */
import { ValueError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import type { ReferenceOptions } from "./reference-replay.ts";

/** Most references. */
export const REFERENCES_MAX = 1e15;

/** How long a warm-up is: in references, or until a fraction of the last-level TLBs' entries are in use. */
export type Warmup = { readonly references: number } | { readonly fraction: number };

/** Reads a warm-up: a whole number, or a fraction with a point. @throws ValueError for anything else */
export function parseWarmup(text: string): Warmup {
  if (/^\d+$/.test(text)) return { references: wholeNumber(0, REFERENCES_MAX)(text) };
  const fraction = /^[01]?\.\d+$/.test(text) ? Number(text) : Number.NaN;
  if (fraction > 0 && fraction <= 1) return { fraction };
  throw new ValueError("", text, "a whole number of references, or a fraction such as 0.5");
}

/** A warm-up as options of a replay. */
export function warmupOptions(warmup: Warmup): Pick<ReferenceOptions, "warmupFraction" | "warmupReferences"> {
  return "fraction" in warmup ? { warmupFraction: warmup.fraction } : { warmupReferences: warmup.references };
}
