/** What somebody may have meant by a name that does not exist. */
import leven from "leven";

/** ` (did you mean mixed?)` with the nearest of `known`, or nothing when none is near. */
export function suggestion(name: string, known: readonly string[]): string {
  let nearest = "";
  let least = Math.max(2, Math.floor(name.length / 2));
  for (const candidate of known) {
    const distance = leven(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least || (distance === least && nearest === "")) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest === "" ? "" : ` (did you mean ${nearest}?)`;
}
