/** Files of one's own that a sweep names: its workload or experiment, and flush policies in its grid. */
import { readFileSync } from "node:fs";
import { loadExperimentFile } from "../experiments/own-experiment.ts";
import { isModuleFile } from "../files/own-module.ts";
import { loadPolicyFiles, POLICY_NAMES, policyFilesIn } from "../settings/own-policy.ts";
import { loadWorkload } from "../workloads/index.ts";
import type { GridValue, SpecText } from "./spec-text.ts";

/** Loads those of a specification, before it is checked. @throws OwnCodeError, WorkloadError */
export async function loadOwnCode({ workload, experiment, grid }: SpecText): Promise<void> {
  const policies = grid.filter(({ name }) => POLICY_NAMES.includes(name)).flatMap(({ values }) => values);
  const kind = workload === undefined ? "experiment" : "workload";
  await loadOwnCodeOfPoint(kind, (workload ?? experiment)?.value ?? "", {});
  for (const { value } of policies) await loadPolicyFiles(String(value));
}

/** Loads those of a point, before it is run. @throws OwnCodeError, WorkloadError */
export async function loadOwnCodeOfPoint(
  kind: "workload" | "experiment",
  name: string,
  values: Readonly<Record<string, GridValue>>,
): Promise<void> {
  if (isModuleFile(name)) await (kind === "workload" ? loadWorkload(name) : loadExperimentFile(name));
  for (const column of POLICY_NAMES) await loadPolicyFiles(String(values[column] ?? ""));
}

/** What the files hold: part of what identifies a sweep. */
export function ownCodeContents(
  name: string,
  grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[],
): string {
  const policies = grid
    .filter((column) => POLICY_NAMES.includes(column.name))
    .flatMap(({ values }) => values.map(String));
  const files = [...(isModuleFile(name) ? [name] : []), ...policies.flatMap(policyFilesIn)];
  return files.length === 0 ? "" : JSON.stringify(files.map((file) => readFileSync(file, "utf8")));
}
