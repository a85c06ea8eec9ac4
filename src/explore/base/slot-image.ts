/**
 * Properties of objects as they were. Some three thousand are looked at before each schedule, of which few have changed. A loop over
 * objects and names of properties takes V8 25 to 40 ns each, as it has to look every name up; code that was made for objects of one
 * kind takes one or two. So code is made for each kind: objects with one constructor and the same names.
 */

type Owner = Record<string, unknown>;

/** Writes to each owner what differs from `values`, which hold all properties of the first owner, then of the next. */
type Restorer = (owners: readonly Owner[], values: readonly unknown[]) => void;

interface Kind {
  readonly owners: Owner[];
  readonly values: unknown[];
  readonly restorer: Restorer;
}

/** Properties of many objects. */
export class SlotImage {
  private readonly kinds = new Map<unknown, Map<string, Kind>>();
  private readonly all: Kind[] = [];

  /** Keeps all properties that an object has now. */
  keep(owner: Owner): void {
    const names = Object.keys(owner);
    if (names.length === 0) return;
    const kind = this.kindOf(owner.constructor, names);
    kind.owners.push(owner);
    for (const name of names) kind.values.push(owner[name]);
  }

  /** Gives every property the value that it had. */
  restore(): void {
    const { all } = this;
    for (let i = 0; i < all.length; i++) all[i].restorer(all[i].owners, all[i].values);
  }

  private kindOf(type: unknown, names: readonly string[]): Kind {
    let ofType = this.kinds.get(type);
    if (ofType === undefined) {
      ofType = new Map();
      this.kinds.set(type, ofType);
    }
    const key = JSON.stringify(names);
    let kind = ofType.get(key);
    if (kind === undefined) {
      kind = { owners: [], values: [], restorer: makeRestorer(names) };
      ofType.set(key, kind);
      this.all.push(kind);
    }
    return kind;
  }
}

function makeRestorer(names: readonly string[]): Restorer {
  const writes = names.map((name, i) => {
    const slot = `owner[${JSON.stringify(name)}]`;
    return `if (${slot} !== values[at + ${i}]) ${slot} = values[at + ${i}];`;
  });
  const body = `let at = 0;
for (let i = 0; i < owners.length; i++) {
  const owner = owners[i];
  ${writes.join("\n  ")}
  at += ${names.length};
}`;
  return new Function("owners", "values", body) as Restorer;
}
