/** Files of one's own that a sweep names: its workload or experiment, and flush policies in its grid. */
import { readFileSync } from "node:fs";
import { loadExperimentFile } from "../experiments/own-experiment.ts";
import { isModuleFile } from "../files/own-module.ts";
import { loadPolicyFiles, POLICY_NAMES, policyFilesIn } from "../settings/own-policy.ts";
import { loadWorkload } from "../workloads/index.ts";
import type { GridValue, SpecText, SubjectKind } from "./spec-text.ts";

/** Loads those of a specification, before it is checked. @throws OwnCodeError, WorkloadError */
export async function loadOwnCode({ subjects, grid }: SpecText): Promise<void> {
  const policies = grid.filter(({ name }) => POLICY_NAMES.includes(name)).flatMap(({ values }) => values);
  for (const { kind, value } of subjects) await loadOwnCodeOfPoint(kind, value, {});
  for (const { value } of policies) await loadPolicyFiles(String(value));
}

/** Loads those of a point, before it is run. @throws OwnCodeError, WorkloadError */
export async function loadOwnCodeOfPoint(
  kind: SubjectKind,
  name: string,
  values: Readonly<Record<string, GridValue>>,
): Promise<void> {
  if (kind === "workload" && isModuleFile(name)) await loadWorkload(name);
  if (kind === "experiment" && isModuleFile(name)) await loadExperimentFile(name);
  for (const column of POLICY_NAMES) await loadPolicyFiles(String(values[column] ?? ""));
}

/** What the files hold: part of what identifies a sweep. */
export function ownCodeContents(
  kind: SubjectKind,
  name: string,
  grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[],
): string {
  const policies = grid
    .filter((column) => POLICY_NAMES.includes(column.name))
    .flatMap(({ values }) => values.map(String));
  const files = [
    ...((kind === "workload" || kind === "experiment") && isModuleFile(name) ? [name] : []),
    ...policies.flatMap(policyFilesIn),
  ];
  return files.length === 0 ? "" : JSON.stringify(files.map((file) => readFileSync(file, "utf8")));
}
