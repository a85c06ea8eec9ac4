/** What each thread of the worker pool runs: one point at a time. */

import { MmulabError } from "../../arch/isa/errors.ts";
import { findExperiment } from "../experiments/index.ts";
import { loadOwnCodeOfPoint } from "./own-code.ts";
import { type PointTable, runPoint } from "./run-point.ts";
import type { SweepPoint, SweepSpec } from "./spec.ts";
import { isTraceKind } from "./trace-columns.ts";
import { replayPoint } from "./trace-point.ts";

/** A task of the pool. */
export interface SweepTask {
  readonly spec: Pick<SweepSpec, "kind" | "name">;
  readonly point: SweepPoint;
}

/** Tables of the point, or why there are none: what no machine or workload can do. */
export type SweepTaskResult = { readonly tables: readonly PointTable[] } | { readonly error: string };

/** Runs a task. */
export default async function run({ spec, point }: SweepTask): Promise<SweepTaskResult> {
  try {
    await loadOwnCodeOfPoint(spec.kind, spec.name, point.values);
    if (isTraceKind(spec.kind)) return { tables: await replayPoint(spec.kind, spec.name, point.values) };
    if (spec.kind === "experiment") await findExperiment(spec.name).prepare?.();
    return { tables: runPoint(spec, point) };
  } catch (error) {
    // A RangeError: this computer has no room for the arrays of so large a machine.
    if (error instanceof MmulabError || error instanceof RangeError) return { error: error.message };
    throw error;
  }
}
