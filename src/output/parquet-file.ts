/** Events of vmalloc in a Parquet file. */
import { ByteWriter, type ColumnSource, ParquetWriter } from "hyparquet-writer";
import { OutputFile } from "../files/output-file.ts";
import type { Kernel } from "../machine/kernel.ts";
import { madeByMetadata } from "../provenance/made-by.ts";
import { EVENT_COLUMNS, type EventFile, type EventRow, eventRows } from "./event-rows.ts";

/** Rows of a row group. */
const ROWS_AT_ONCE = 50_000;

/**
 * Opens a Parquet file for the events of `kernel`.
 * @throws OutputFileError when it cannot be created
 */
export function parquetFile(file: string, kernel: Kernel): EventFile {
  const output = new OutputFile(file);
  let rows: EventRow[] = [];
  const writer = new ParquetWriter({
    writer: new FileWriter(output),
    schema: parquetSchema(),
    kvMetadata: madeByMetadata(),
  });
  const writeGroup = (): void => {
    if (rows.length === 0) return;
    const columnData = EVENT_COLUMNS.map((column) => parquetColumn(column.name, rows));
    rows = [];
    writer.write({ columnData, rowGroupSize: ROWS_AT_ONCE });
  };
  return {
    observer: eventRows(kernel.machine.loop, (row) => {
      rows.push(row);
      if (rows.length >= ROWS_AT_ONCE) writeGroup();
    }),
    finish() {
      writeGroup();
      writer.finish();
      output.finish();
    },
    abandon: () => output.abandon(),
  };
}

/** Collects what the library writes, and passes it on after each row group. */
class FileWriter extends ByteWriter {
  private readonly output: OutputFile;

  constructor(output: OutputFile) {
    super();
    this.output = output;
  }

  flush(): void {
    this.output.write(this.getBytes());
    this.index = 0;
  }

  override finish(): void {
    this.flush();
  }
}

function parquetSchema(): ConstructorParameters<typeof ParquetWriter>[0]["schema"] {
  return [
    { name: "root", num_children: EVENT_COLUMNS.length },
    ...EVENT_COLUMNS.map(({ name, kind }) => {
      const repetition_type = ["cycles", "cpu", "task", "event"].includes(name) ? "REQUIRED" : "OPTIONAL";
      if (kind === "text") return { name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type } as const;
      const converted_type = kind === "hex" ? "UINT_64" : "INT_64";
      return { name, type: "INT64", converted_type, repetition_type } as const;
    }),
  ];
}

function parquetColumn(name: string, rows: readonly EventRow[]): ColumnSource {
  const data = rows.map((row) => {
    const value = row[name];
    if (value === undefined) return null;
    return typeof value === "number" || value.startsWith("0x") ? BigInt(value) : value;
  });
  return { name, data };
}
