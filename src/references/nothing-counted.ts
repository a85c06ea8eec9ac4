/** A replay that ends before anything of it counts. */
import type { ReferenceReport } from "./reference-replay.ts";

/** Why nothing of a replay was counted, in words; null if something was. */
export function nothingCounted({
  references,
  skippedReferences,
  warmupReferences,
}: Pick<ReferenceReport, "references" | "skippedReferences" | "warmupReferences">): string | null {
  if (references > 0) return null;
  const parts = [
    ...(skippedReferences === 0 ? [] : [`${skippedReferences.toLocaleString("en-US")} skipped`]),
    ...(warmupReferences === 0 ? [] : [`${warmupReferences.toLocaleString("en-US")} of the warm-up`]),
  ];
  return `nothing was counted: all references of the trace were skipped or warm-up (${parts.join(", ")})`;
}
