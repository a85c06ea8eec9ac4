/** A choice of figures in words, for reports. Apart from what checks figures, which the page loads only when it needs it. */
import type { FigureChoice } from "./figure-choice.ts";

/** What a choice adds to a result: what is needed to make it again. */
export function describeChoice({ presetFile, set }: FigureChoice): Pick<FigureChoice, "presetFile" | "set"> {
  return { ...(presetFile === undefined ? {} : { presetFile }), ...(set === undefined ? {} : { set }) };
}

/** `skylake`, `mine (mine.json)`, `skylake with costs.walk=30`: a preset for the title of a report. */
export function choiceTitle(
  preset: string,
  { presetFile, set = {} }: Pick<FigureChoice, "presetFile" | "set">,
): string {
  const words = Object.entries(set).map(([name, value]) => `${name}=${value}`);
  const file = presetFile === undefined ? "" : ` from ${presetFile}`;
  return `${preset}${file}${words.length === 0 ? "" : ` with ${words.join(" ")}`}`;
}
