/** What somebody may have meant by a name that does not exist. */
import leven from "leven";

/** Letters of a name from which on it may be the beginning of another. */
const BEGINNING_MIN = 4;

/** Letters of a name that may be wrong, as a part of all; at least one. */
const WRONG_MAX = 1 / 2;

/** ` (did you mean mixed?)` with the nearest of `known`, or nothing when none is near: one that begins so, whatever is between its words. */
export function suggestion(name: string, known: readonly string[]): string {
  const letters = (text: string): string => text.toLowerCase().replaceAll(/[-_]/g, "");
  const longer = known.filter((candidate) => letters(candidate).startsWith(letters(name)));
  if (longer.length === 1 && letters(name).length >= BEGINNING_MIN) return ` (did you mean ${longer[0]}?)`;
  let nearest = "";
  let least = Math.max(1, Math.floor(letters(name).length * WRONG_MAX));
  for (const candidate of known) {
    const distance = leven(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least || (distance === least && nearest === "")) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest === "" ? "" : ` (did you mean ${nearest}?)`;
}
