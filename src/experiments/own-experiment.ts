/** Experiments of one's own: a TypeScript or JavaScript file whose default export is an `Experiment`. */
import { importOwnModule } from "../files/own-module.ts";
import { OwnCodeError } from "../input/errors.ts";
import type { Experiment } from "./base/experiment.ts";
import { OWN_EXPERIMENTS } from "./index.ts";

const EXPECTED =
  "expected export default experiment, with experiment: Experiment (mmulab new experiment NAME writes one)";
const LISTS = ["parameters", "settings"];
const TEXTS = ["name", "summary", "description", "example", "headline"];

/**
 * The experiment in a file; grids of sweeps know the file from then on.
 * @throws OwnCodeError when there is none
 */
export async function loadExperimentFile(file: string): Promise<Experiment> {
  const known = OWN_EXPERIMENTS.find(file);
  if (known !== undefined) return known;
  const { default: exported } = await importOwnModule(file, "experiment", (reason) => new OwnCodeError(file, reason));
  if (typeof exported !== "object" || exported === null) throw new OwnCodeError(file, `is no experiment: ${EXPECTED}`);
  const experiment = exported as Readonly<Record<string, unknown>>;
  const wrong = (field: string, expected: string): OwnCodeError =>
    new OwnCodeError(file, `is no experiment: ${field} is ${String(experiment[field])}, expected ${expected}`);
  for (const field of TEXTS) if (typeof experiment[field] !== "string") throw wrong(field, "a text");
  for (const field of LISTS) if (!Array.isArray(experiment[field])) throw wrong(field, "a list");
  if (typeof experiment.run !== "function") throw wrong("run", "a function");
  return OWN_EXPERIMENTS.add(file, exported as Experiment);
}
