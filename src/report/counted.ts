/** How many there are of something, in words. */

/** `1 event`, `3 events`. @param many for nouns that take no `s`; `show` writes the number, as it is by default */
export function counted(
  count: number,
  one: string,
  many = `${one}s`,
  show: (count: number) => string = String,
): string {
  return `${show(count)} ${count === 1 ? one : many}`;
}
