/**
 * Plain data with typed arrays in it as bytes: a line of JSON in which each typed array is named by its place, then the elements of
 * all of them, little-endian, each array on a multiple of eight bytes.
 *
 *   0        the length of the JSON in bytes, as a 64-bit integer
 *   8        the JSON, filled up with spaces to a multiple of eight bytes
 *   after    the arrays
 */

/** Kinds of arrays, under the names that they have in the JSON. */
const KINDS = {
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  f64: Float64Array,
  u64: BigUint64Array,
} as const;
type Kind = keyof typeof KINDS;
type Elements = InstanceType<(typeof KINDS)[Kind]>;

/** Stands for an array in the JSON: its kind, its place in bytes from the first array on, and its length in elements. */
interface Place {
  readonly array: Kind;
  readonly at: number;
  readonly length: number;
}

const ALIGNMENT = 8;
const SPACE = 0x20;

/** The bytes of `data`: objects, lists, texts, booleans, null, finite numbers and typed arrays. */
export function encodeData(data: unknown): Uint8Array {
  const arrays: Elements[] = [];
  let end = 0;
  const json = JSON.stringify(data, (_, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${value} has no form in JSON`);
    if (!ArrayBuffer.isView(value)) return value;
    const elements = value as Elements;
    const place: Place = { array: kindOf(elements), at: end, length: elements.length };
    arrays.push(elements);
    end += aligned(elements.byteLength);
    return place;
  });
  const text = new TextEncoder().encode(json);
  const first = ALIGNMENT + aligned(text.length);
  const bytes = new Uint8Array(first + end);
  bytes.fill(SPACE, ALIGNMENT, first);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, ALIGNMENT);
  let at = first;
  for (const elements of arrays) {
    bytes.set(new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength), at);
    at += aligned(elements.byteLength);
  }
  return bytes;
}

/**
 * The data that {@link encodeData} made bytes of. Its arrays share memory with `bytes`.
 * @throws SyntaxError or RangeError when these are no such bytes
 */
export function decodeData(bytes: Uint8Array): unknown {
  const whole = bytes.byteOffset % ALIGNMENT === 0 ? bytes : Uint8Array.from(bytes);
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > whole.length - ALIGNMENT) throw new RangeError(`${length} bytes of JSON are not there`);
  const first = ALIGNMENT + aligned(length);
  const json = new TextDecoder().decode(whole.subarray(ALIGNMENT, ALIGNMENT + length));
  return JSON.parse(json, (_, value: unknown) => (isPlace(value) ? elementsAt(whole, first, value) : value));
}

function elementsAt(bytes: Uint8Array, first: number, { array, at, length }: Place): Elements {
  return new KINDS[array](bytes.buffer as ArrayBuffer, bytes.byteOffset + first + at, length);
}

function isPlace(value: unknown): value is Place {
  return typeof value === "object" && value !== null && "array" in value && Object.hasOwn(KINDS, value.array as string);
}

function kindOf(elements: ArrayBufferView): Kind {
  for (const [kind, made] of Object.entries(KINDS)) if (elements instanceof made) return kind as Kind;
  throw new TypeError(`a ${elements.constructor.name} has no form in a saved state`);
}

function aligned(sizeBytes: number): number {
  return Math.ceil(sizeBytes / ALIGNMENT) * ALIGNMENT;
}
