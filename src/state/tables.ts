/** Tables in saved states: typed arrays side by side, one a column. */
import { z } from "zod";

/**
 * A schema of tables: of `keys`, the values that are columns have to be equally long. A row's values stand at one place in each, so that a
 * column with a value too few would give its rows those of others.
 */
export function rows<Value extends object>(
  schema: z.ZodType<Value>,
  ...keys: readonly (keyof Value)[]
): z.ZodType<Value> {
  return schema.refine(
    (value) =>
      new Set(keys.flatMap((key) => (ArrayBuffer.isView(value[key]) ? [elementsIn(value[key])] : []))).size <= 1,
    `columns are not equally long: ${keys.join(", ")}`,
  );
}

function elementsIn(column: ArrayBufferView): number {
  return column.byteLength / (column as Uint8Array).BYTES_PER_ELEMENT;
}

/** A schema of tables in which everything is a column. */
export function table<Shape extends z.ZodRawShape>(shape: Shape) {
  const schema = z.strictObject(shape);
  return rows(schema, ...(Object.keys(shape) as (keyof z.infer<typeof schema>)[]));
}

/** An object with a schema for each of a list of keys. */
export function columns<Key extends string, Schema extends z.ZodType>(schema: Schema, ...keys: readonly Key[]) {
  return Object.fromEntries(keys.map((key) => [key, schema])) as Record<Key, Schema>;
}
