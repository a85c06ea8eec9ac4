/**
 * Schedules as text. Only where a schedule does something else than go on is written: `12.1-40.2` is choice number 12 (from 0) falling
 * on alternative 1, choice 40 on alternative 2. A schedule without interference is `-`.
 */
import { ValueError } from "../../input/errors.ts";

/** Where a schedule deviates: the alternative chosen, by number of the choice. */
export type Deviations = ReadonlyMap<number, number>;

/** The text of a schedule. */
export function formatSchedule(deviations: Deviations): string {
  if (deviations.size === 0) return "-";
  return [...deviations].map(([choice, alternative]) => `${choice}.${alternative}`).join("-");
}

/** @throws ValueError for a text that is no schedule */
export function parseSchedule(text: string): Deviations {
  const deviations = new Map<number, number>();
  if (text === "-") return deviations;
  let last = -1;
  for (const part of text.split("-")) {
    const match = /^(\d{1,7})\.(\d{1,4})$/.exec(part);
    if (match === null || Number(match[1]) <= last || Number(match[2]) === 0) {
      throw new ValueError("--schedule", text, "CHOICE.ALTERNATIVE joined by -, in ascending order, or -");
    }
    last = Number(match[1]);
    deviations.set(last, Number(match[2]));
  }
  return deviations;
}
