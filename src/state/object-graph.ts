/**
 * The whole state of a machine as a graph of its objects. Saving walks everything that can be reached from the kernel:
 * fields of classes, typed arrays and the buffers that they share, maps, sets. Restoring lays the saved values over a kernel
 * that was booted with the same configuration: objects that are there are filled in place, so that functions which hold
 * them go on to work, and others are made. Functions are not saved; the booted kernel has its own.
 */

import { MmulabError } from "../../arch/isa/errors.ts";

/** A saved value: itself, or a one-element array with the number of an object, or `[-1]` for what is not saved. */
export type SavedValue = number | string | boolean | null | undefined | bigint | readonly [number];

/** A saved object. */
export type SavedNode =
  | { readonly kind: "buffer"; readonly bytes: Uint8Array }
  | {
      readonly kind: "view";
      readonly type: ViewType;
      readonly buffer: number;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: "array"; readonly items: readonly SavedValue[] }
  | { readonly kind: "map"; readonly entries: readonly (readonly [SavedValue, SavedValue])[] }
  | { readonly kind: "set"; readonly items: readonly SavedValue[] }
  | {
      readonly kind: "object";
      /** The class's name; "" for plain objects. */
      readonly type: string;
      readonly names: readonly string[];
      readonly values: readonly SavedValue[];
    };

/** A class of which a state may hold objects. */
export interface StateClass {
  readonly name: string;
  readonly prototype: object;
}

/** What was saved does not fit the kernel that it is laid over, or cannot be saved at all. */
export class StateError extends MmulabError {
  override readonly name = "StateError";

  /** @param message what does not fit or cannot be saved, in one line */
  constructor(message: string) {
    super("BAD_STATE", message);
  }
}

const NOT_SAVED: readonly [number] = [-1];

const VIEW_TYPES = {
  Int8Array,
  Uint8Array,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
} as const;
type ViewType = keyof typeof VIEW_TYPES;
type View = InstanceType<(typeof VIEW_TYPES)[ViewType]>;

type Fields = Record<string, unknown>;

/** Saves everything that can be reached from `root`, which is node 0. @throws StateError for what cannot be saved */
export function saveGraph(root: object): SavedNode[] {
  const ids = new Map<object, number>();
  const queue: object[] = [];
  const nodes: SavedNode[] = [];
  const idOf = (value: object): number => {
    let id = ids.get(value);
    if (id === undefined) {
      id = queue.length;
      ids.set(value, id);
      queue.push(value);
    }
    return id;
  };
  const save = (value: unknown): SavedValue => {
    if (typeof value === "function" || isGenerator(value)) return NOT_SAVED;
    if (typeof value === "symbol") throw new StateError("a symbol cannot be saved");
    return typeof value === "object" && value !== null ? [idOf(value)] : (value as SavedValue);
  };
  idOf(root);
  for (let at = 0; at < queue.length; at++) nodes.push(saveNode(queue[at], save, idOf));
  return nodes;
}

function saveNode(value: object, save: (value: unknown) => SavedValue, idOf: (value: object) => number): SavedNode {
  if (value instanceof ArrayBuffer) return { kind: "buffer", bytes: new Uint8Array(value) };
  if (ArrayBuffer.isView(value)) {
    const view = value as View;
    const type = view.constructor.name as ViewType;
    if (!(type in VIEW_TYPES)) throw new StateError(`a ${type} cannot be saved`);
    return { kind: "view", type, buffer: idOf(view.buffer), offset: view.byteOffset, length: view.length };
  }
  if (Array.isArray(value)) return { kind: "array", items: Array.from(value, save) };
  if (value instanceof Map) {
    return { kind: "map", entries: Array.from(value, ([key, item]) => [save(key), save(item)] as const) };
  }
  if (value instanceof Set) return { kind: "set", items: Array.from(value, save) };
  const names = Object.keys(value);
  const values = names.map((name) => save((value as Fields)[name]));
  return { kind: "object", type: classOf(value), names, values };
}

/**
 * Lays `nodes` over `root`, the same kind of object as node 0 was saved from.
 * @param classes classes of which the saved state may hold objects that `root` does not hold
 * @throws StateError when the two do not fit; `root` is not usable then
 */
export function restoreGraph(root: object, nodes: readonly SavedNode[], classes: readonly StateClass[]): void {
  new Restorer(nodes, classes).restore(root);
}

class Restorer {
  private readonly nodes: readonly SavedNode[];
  private readonly objects: (object | undefined)[];
  /** Objects of the booted kernel that stand for a saved one. */
  private readonly bound = new Set<object>();
  private readonly prototypes = new Map<string, object>();
  /** Objects whose contents are to be filled in, with what was there. */
  private readonly pending: { readonly id: number; readonly filled: boolean }[] = [];

  constructor(nodes: readonly SavedNode[], classes: readonly StateClass[]) {
    this.nodes = nodes;
    this.objects = new Array<object | undefined>(nodes.length);
    for (const { name, prototype } of classes) this.prototypes.set(name, prototype);
  }

  restore(root: object): void {
    this.object(0, root);
    for (let at = 0; at < this.pending.length; at++) this.fill(this.pending[at].id, this.pending[at].filled);
  }

  /** The object for a saved one: `there`, what the booted kernel has in its place, if that fits and is still free. */
  private object(id: number, there: unknown): object {
    const known = this.objects[id];
    if (known !== undefined) return known;
    const node = this.nodes[id];
    const candidate = typeof there === "object" && there !== null && !this.bound.has(there) ? there : null;
    const fits = candidate !== null && this.fits(node, candidate);
    const object = fits ? candidate : this.make(node);
    if (fits) this.bound.add(candidate);
    this.objects[id] = object;
    this.pending.push({ id, filled: fits });
    return object;
  }

  private value(saved: SavedValue, there: unknown): unknown {
    if (!Array.isArray(saved)) return saved;
    const id = saved[0];
    return id < 0 ? there : this.object(id, there);
  }

  private fits(node: SavedNode, there: object): boolean {
    switch (node.kind) {
      case "buffer":
        return there instanceof ArrayBuffer && there.byteLength === node.bytes.length;
      case "view": {
        if (!ArrayBuffer.isView(there)) return false;
        const view = there as View;
        const same =
          view.constructor.name === node.type && view.length === node.length && view.byteOffset === node.offset;
        return same && this.object(node.buffer, view.buffer) === view.buffer;
      }
      case "array":
        return Array.isArray(there);
      case "map":
        return there instanceof Map;
      case "set":
        return there instanceof Set;
      case "object":
        return classOf(there) === node.type && !Array.isArray(there);
    }
  }

  private make(node: SavedNode): object {
    switch (node.kind) {
      case "buffer":
        return new ArrayBuffer(node.bytes.length);
      case "view":
        return new VIEW_TYPES[node.type](this.object(node.buffer, null) as ArrayBuffer, node.offset, node.length);
      case "array":
        return [];
      case "map":
        return new Map();
      case "set":
        return new Set();
      case "object": {
        if (node.type === "") return {};
        const prototype = this.prototypes.get(node.type);
        if (prototype === undefined)
          throw new StateError(`it holds a ${node.type}, of which this program knows nothing`);
        return Object.create(prototype) as object;
      }
    }
  }

  private fill(id: number, filled: boolean): void {
    const node = this.nodes[id];
    const object = this.objects[id];
    if (object === undefined) return;
    switch (node.kind) {
      case "buffer":
        new Uint8Array(object as ArrayBuffer).set(node.bytes);
        return;
      case "view":
        return;
      case "array": {
        const array = object as unknown[];
        array.length = node.items.length;
        node.items.forEach((item, i) => {
          array[i] = this.value(item, array[i]);
        });
        return;
      }
      case "map":
        this.fillMap(object as Map<unknown, unknown>, node.entries);
        return;
      case "set":
        (object as Set<unknown>).clear();
        for (const item of node.items) (object as Set<unknown>).add(this.value(item, undefined));
        return;
      case "object":
        this.fillObject(object as Fields, node, filled);
    }
  }

  private fillMap(map: Map<unknown, unknown>, entries: readonly (readonly [SavedValue, SavedValue])[]): void {
    const before = new Map(map);
    map.clear();
    for (const [key, item] of entries) {
      const restored = this.value(key, undefined);
      map.set(restored, this.value(item, before.get(restored)));
    }
  }

  private fillObject(object: Fields, node: SavedNode & { kind: "object" }, filled: boolean): void {
    if (filled && node.type !== "") {
      this.prototypes.set(node.type, Object.getPrototypeOf(object) as object);
      const missing = Object.keys(object).find((name) => !node.names.includes(name));
      const extra = node.names.find((name) => !(name in object));
      if (missing !== undefined || extra !== undefined) {
        throw new StateError(`its ${node.type} has other fields (${missing ?? extra}) than this program's`);
      }
    }
    const isFrozen = Object.isFrozen(object);
    node.names.forEach((name, i) => {
      const saved = node.values[i];
      const there = object[name];
      const value = this.value(saved, there);
      if (value === there || isFrozen) return;
      object[name] = value;
    });
  }
}

/** The name of an object's class; "" for a plain object. */
function classOf(value: object): string {
  const prototype = Object.getPrototypeOf(value) as { constructor: { name: string } } | null;
  return prototype === null || prototype === Object.prototype ? "" : prototype.constructor.name;
}

function isGenerator(value: unknown): boolean {
  return Object.prototype.toString.call(value) === "[object Generator]";
}
