/** The figures of an experiment's machines, by whether the run has used them. */
import { figureCounts, figureSentence } from "../../report/figures.ts";
import type { InputFigure } from "../base/experiment.ts";

/** Figures that a run has used, and the others of its machines. */
export interface InputsByUse {
  readonly used: readonly InputFigure[];
  readonly others: readonly InputFigure[];
}

/** Inputs by use; where use was not noted, all are others. */
export function inputsByUse(inputs: readonly InputFigure[]): InputsByUse {
  return { used: inputs.filter(({ used }) => used === true), others: inputs.filter(({ used }) => used !== true) };
}

/** How many figures were used, how they are known, and what used means. */
export function usedSentence(used: readonly InputFigure[]): string {
  const counts = figureSentence(figureCounts(used), "figures used");
  return `${counts}. They were charged to a CPU's clock in this run, setting up included, or looked at to find out what to charge, those of a structure together. None is fitted to a result.`;
}

/** How many others there are, and how they are known. */
export function othersSentence(others: readonly InputFigure[]): string {
  return `${figureSentence(figureCounts(others), "other figures of the machine")}. Changing them alone leaves this run as it is.`;
}
