/** What of a machine is one CPU's own, and what CPUs share: a step changes only what is shared and what is of the CPUs that acted in it. */
import { forEachValue } from "./value-images.ts";

/** The group of what CPUs share. What is the own of CPU `n` is group `n + 1`. */
export const SHARED = 0;

/**
 * Everything that can be reached from CPUs, each with its group: that of the one CPU that it can be reached from, or `SHARED`.
 * @param seen what is known already: it is left out, and so is what can be reached only through it. What is found is added
 * @returns objects and typed arrays, of those on one buffer only the first
 */
export function groupsOf(cpus: readonly object[], seen: Set<object>): Map<object, number> {
  const groups = new Map<object, number>();
  /** Typed arrays by their buffers: those of several CPUs may lie on one. */
  const arrays = new Map<ArrayBufferLike, object>();
  cpus.forEach((cpu, i) => {
    const todo: unknown[] = [cpu];
    const later = (value: unknown): void => {
      if (typeof value === "object" && value !== null) todo.push(value);
    };
    while (todo.length > 0) {
      let found = todo.pop() as object;
      if (ArrayBuffer.isView(found)) {
        const first = arrays.get(found.buffer) ?? found;
        arrays.set(found.buffer, first);
        found = first;
      }
      if (found !== cpu && seen.has(found)) continue;
      const group = groups.get(found);
      if (group === SHARED || group === i + 1) continue;
      groups.set(found, group === undefined ? i + 1 : SHARED);
      if (!ArrayBuffer.isView(found)) forEachValue(found, later);
    }
  });
  for (const found of groups.keys()) seen.add(found);
  return groups;
}
