/** Where a sweep keeps its results when nobody says where: beside its specification. */
import type { Shard } from "./sweep.ts";

/** The file of results of a sweep, or of one of its parts. @param file the specification */
export function defaultResultsFile(file: string, { part, parts }: Shard): string {
  return `${withoutEnding(file)}${parts === 1 ? "" : `.${part}-of-${parts}`}.results.jsonl`;
}

/** The folder of results of an array job. @param file the specification */
export function defaultResultsFolder(file: string): string {
  return `${withoutEnding(file)}.sweep`;
}

function withoutEnding(file: string): string {
  return file.replace(/\.ya?ml$/i, "");
}
