/** Templates of what people write themselves. Each runs as it is. */
import { findPreset } from "../settings/presets.ts";
import { experimentTemplate } from "./experiment.ts";
import { policyTemplate } from "./policy.ts";
import { workloadTemplate } from "./workload.ts";

/** A template. */
export interface Template {
  /** What its file ends in. */
  readonly ending: ".ts" | ".json";
  /** Its text. @param name what it is to be called */
  readonly text: (name: string) => string;
  /** A command line that runs the file, which is called \`file\`. */
  readonly example: (file: string) => string;
}

/** The preset that a preset of one's own begins with. */
const FIRST_PRESET = "skylake";

/** All templates by what they make. */
export const TEMPLATES: Readonly<Record<string, Template>> = {
  workload: { ending: ".ts", text: workloadTemplate, example: (file) => `mmulab run ${file}` },
  policy: { ending: ".ts", text: policyTemplate, example: (file) => `mmulab run --policy ${file}` },
  preset: { ending: ".json", text: presetTemplate, example: (file) => `mmulab run --preset ${file}` },
  experiment: { ending: ".ts", text: experimentTemplate, example: (file) => `mmulab experiment ${file}` },
};

/** JSON has no comments: what there is to say stands in the description, and every figure has its own source. */
function presetTemplate(name: string): string {
  const description = `A copy of ${FIRST_PRESET} to be changed: each figure is measured, documented or assumed, and says from where (docs/presets.md)`;
  return `${JSON.stringify({ ...findPreset(FIRST_PRESET), name, description }, null, 2)}\n`;
}
