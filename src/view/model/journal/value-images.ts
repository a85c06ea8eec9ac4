/** Properties of objects and what lists, maps and sets hold, as they were after the last step. */

type Owner = Record<string, unknown>;

/** One change: how it is taken back and made again. */
export interface ValueChange {
  undo(): void;
  redo(): void;
}

/** Something that is looked at after each step. */
interface Image {
  /** What has changed since the last time, or null. Values that are there now and were not are told to `met`. */
  takeChange(met: (value: unknown) => void): ValueChange | null;
}

/** Calls `met` with each value that an object, a list, a map or a set holds. */
export function forEachValue(found: object, met: (value: unknown) => void): void {
  if (found instanceof Map) for (const entry of found) entry.forEach(met);
  else if (found instanceof Set) found.forEach(met);
  else Object.values(found).forEach(met);
}

/** Objects, lists, maps and sets. Each belongs to a group by number, of which some are looked at each time. */
export class ValueImages {
  private readonly groups: Image[][] = [];

  /** Keeps what is in `found`, as it is now. Typed arrays are not for this. */
  keep(found: object, group: number): void {
    if (Array.isArray(found)) this.add(new ListImage(found), group);
    else if (found instanceof Map) this.add(new TableImage(found, entriesOfMap, fillMap), group);
    else if (found instanceof Set) this.add(new TableImage(found, (set) => [...set], fillSet), group);
    else if (!Object.isFrozen(found)) this.add(new SlotImage(found as Owner), group);
  }

  /** Keeps a few bytes. */
  keepBytes(bytes: Uint8Array, group: number): void {
    this.add(new ByteImage(bytes), group);
  }

  private add(image: Image, group: number): void {
    this.groups[group] ??= [];
    this.groups[group].push(image);
  }

  /** Takes over what differs in some groups. `met` is called with each value that was not there before. */
  takeChanges(groups: readonly number[], met: (value: unknown) => void): ValueChange[] {
    const changes: ValueChange[] = [];
    for (const group of groups) {
      const images = this.groups[group] ?? [];
      // What is met now is kept as it is now: it needs no look.
      const { length } = images;
      for (let i = 0; i < length; i++) {
        const change = images[i].takeChange(met);
        if (change !== null) changes.push(change);
      }
    }
    return changes;
  }
}

/** All properties of an object. */
class SlotImage implements Image {
  private readonly names: readonly string[];
  private readonly values: unknown[];
  private readonly owner: Owner;

  constructor(owner: Owner) {
    this.owner = owner;
    this.names = Object.keys(owner);
    this.values = Object.values(owner);
  }

  takeChange(met: (value: unknown) => void): ValueChange | null {
    const { owner, names, values } = this;
    const changed: { readonly at: number; readonly before: unknown; readonly after: unknown }[] = [];
    for (let at = 0; at < names.length; at++) {
      const after = owner[names[at]];
      if (Object.is(after, values[at])) continue;
      changed.push({ at, before: values[at], after });
      values[at] = after;
      met(after);
    }
    if (changed.length === 0) return null;
    const write = (at: number, value: unknown): void => {
      owner[names[at]] = value;
      values[at] = value;
    };
    return {
      undo: () => {
        for (const { at, before } of changed) write(at, before);
      },
      redo: () => {
        for (const { at, after } of changed) write(at, after);
      },
    };
  }
}

/** A list; most only grow. */
class ListImage implements Image {
  private readonly copy: unknown[];
  private readonly list: unknown[];

  constructor(list: unknown[]) {
    this.list = list;
    this.copy = list.slice();
  }

  takeChange(met: (value: unknown) => void): ValueChange | null {
    const { list, copy } = this;
    let first = 0;
    while (first < list.length && first < copy.length && Object.is(list[first], copy[first])) first++;
    if (first === list.length && first === copy.length) return null;
    const after = list.slice(first);
    const before = copy.splice(first, copy.length, ...after);
    after.forEach(met);
    const write = (tail: readonly unknown[]): void => {
      list.splice(first, list.length, ...tail);
      copy.splice(first, copy.length, ...tail);
    };
    return { undo: () => write(before), redo: () => write(after) };
  }
}

/** What is left of a typed array after its last whole word. */
class ByteImage implements Image {
  private readonly bytes: Uint8Array;
  private readonly copy: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.copy = bytes.slice();
  }

  takeChange(): ValueChange | null {
    const { bytes, copy } = this;
    if (bytes.every((byte, i) => byte === copy[i])) return null;
    const [before, after] = [copy.slice(), bytes.slice()];
    const write = (values: Uint8Array): void => {
      bytes.set(values);
      copy.set(values);
    };
    copy.set(after);
    return { undo: () => write(before), redo: () => write(after) };
  }
}

/** A map or a set, as the list of what is in it. */
class TableImage<T extends Map<unknown, unknown> | Set<unknown>> implements Image {
  private copy: readonly unknown[];
  private readonly table: T;
  private readonly listOf: (table: T) => unknown[];
  private readonly fill: (table: T, list: readonly unknown[]) => void;

  constructor(table: T, listOf: (table: T) => unknown[], fill: (table: T, list: readonly unknown[]) => void) {
    this.table = table;
    this.listOf = listOf;
    this.fill = fill;
    this.copy = listOf(table);
  }

  takeChange(met: (value: unknown) => void): ValueChange | null {
    const before = this.copy;
    if (before.length === 0 && this.table.size === 0) return null;
    const after = this.listOf(this.table);
    if (after.length === before.length && after.every((value, i) => Object.is(value, before[i]))) return null;
    this.copy = after;
    after.forEach(met);
    const write = (list: readonly unknown[]): void => {
      this.table.clear();
      this.fill(this.table, list);
      this.copy = list;
    };
    return { undo: () => write(before), redo: () => write(after) };
  }
}

function entriesOfMap(map: Map<unknown, unknown>): unknown[] {
  return [...map].flat();
}

function fillMap(map: Map<unknown, unknown>, list: readonly unknown[]): void {
  for (let i = 0; i < list.length; i += 2) map.set(list[i], list[i + 1]);
}

function fillSet(set: Set<unknown>, list: readonly unknown[]): void {
  for (const value of list) set.add(value);
}
