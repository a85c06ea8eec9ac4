/** A flat table in a Parquet file, with a type for each column. */
import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer";
import { OutputFile } from "../files/output-file.ts";
import { madeByMetadata } from "../provenance/made-by.ts";

/** A value of a table; undefined where a row has none. */
type TableValue = number | string | boolean | undefined;

/**
 * Writes a table. A column of whole numbers is INT64, of other numbers DOUBLE, of truth values BOOLEAN, any other text.
 * @throws OutputFileError when it cannot be written
 */
export function writeParquetTable(
  file: string,
  columns: readonly string[],
  rows: readonly Readonly<Record<string, TableValue>>[],
): void {
  const output = new OutputFile(file);
  const bytes = parquetWriteBuffer({
    columnData: columns.map((name) =>
      columnOf(
        name,
        rows.map((row) => row[name]),
      ),
    ),
    kvMetadata: madeByMetadata(),
  });
  output.write(new Uint8Array(bytes));
  output.finish();
}

function columnOf(name: string, values: readonly TableValue[]): ColumnSource {
  const given = values.filter((value) => value !== undefined);
  const nullable = true;
  if (given.every((value) => typeof value === "boolean")) {
    return { name, type: "BOOLEAN", nullable, data: values.map((value) => value ?? null) };
  }
  if (given.every((value) => typeof value === "number")) {
    const isWhole = given.every((value) => Number.isSafeInteger(value));
    if (!isWhole) return { name, type: "DOUBLE", nullable, data: values.map((value) => value ?? null) };
    return { name, type: "INT64", nullable, data: values.map((value) => (value === undefined ? null : BigInt(value))) };
  }
  return { name, type: "STRING", nullable, data: values.map((value) => (value === undefined ? null : String(value))) };
}
