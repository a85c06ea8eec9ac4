/** Events of vmalloc in a file: ftrace text, CSV, JSON lines or Parquet, by the ending of the file's name. */
import { renameSync, rmSync } from "node:fs";
import { extname } from "node:path";
import { stringify } from "csv-stringify/sync";
import { type ColumnSource, fileWriter, ParquetWriter } from "hyparquet-writer";
import { ftraceText, type VmallocEvents } from "../../mm/index.ts";
import { UsageError } from "../command-line/errors.ts";
import type { Kernel } from "../kernel.ts";
import { EVENT_COLUMNS, type EventRow, eventRows } from "./event-rows.ts";
import { OutputFile, partialName, toOutputError } from "./output-file.ts";

/** Rows of a Parquet row group, and of one piece of CSV. */
const ROWS_AT_ONCE = 50_000;

/** A file that events go to. */
export interface EventFile {
  /** To be told of the events. */
  readonly observer: VmallocEvents;
  /** Completes the file. @throws UsageError when it cannot be written */
  finish(): void;
  /** Leaves nothing behind. */
  abandon(): void;
}

/** The endings of names, and what they stand for. */
export const EVENT_FILE_FORMATS = ".txt (ftrace text), .csv, .jsonl or .parquet";

/**
 * Opens `file` for the events of `kernel`.
 * @throws UsageError for an unknown ending, or when the file cannot be created
 */
export function openEventFile(file: string, kernel: Kernel): EventFile {
  switch (extname(file).toLowerCase()) {
    case ".txt":
    case ".ftrace":
      return textFile(file, (write) => {
        const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
        write("# tracer: nop\n#\n");
        return ftraceText(kernel.machine.loop, { cyclesPerSecond }, (line) => write(`${line}\n`));
      });
    case ".jsonl":
      return textFile(file, (write) => eventRows(kernel.machine.loop, (row) => write(`${JSON.stringify(row)}\n`)));
    case ".csv":
      return textFile(file, (write) => {
        write(`${EVENT_COLUMNS.map(({ name }) => name).join(",")}\n`);
        return eventRows(kernel.machine.loop, (row) => write(csvLine(row)));
      });
    case ".parquet":
      return parquetFile(file, kernel);
    default:
      throw new UsageError(
        `cannot tell from the name ${file} in which format to write; it should end in ${EVENT_FILE_FORMATS}`,
      );
  }
}

function textFile(file: string, observe: (write: (text: string) => void) => VmallocEvents): EventFile {
  const output = new OutputFile(file);
  return {
    observer: observe((text) => output.write(text)),
    finish: () => output.finish(),
    abandon: () => output.abandon(),
  };
}

function csvLine(row: EventRow): string {
  return stringify([EVENT_COLUMNS.map(({ name }) => row[name])]);
}

function parquetFile(file: string, kernel: Kernel): EventFile {
  const partial = partialName(file);
  let rows: EventRow[] = [];
  const guarded = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw toOutputError(file, error);
    }
  };
  const writer = guarded(() => new ParquetWriter({ writer: fileWriter(partial), schema: parquetSchema() }));
  const writeGroup = (): void => {
    if (rows.length === 0) return;
    const columnData = EVENT_COLUMNS.map((column) => parquetColumn(column.name, rows));
    rows = [];
    guarded(() => writer.write({ columnData, rowGroupSize: ROWS_AT_ONCE }));
  };
  return {
    observer: eventRows(kernel.machine.loop, (row) => {
      rows.push(row);
      if (rows.length >= ROWS_AT_ONCE) writeGroup();
    }),
    finish() {
      writeGroup();
      guarded(() => {
        writer.finish();
        renameSync(partial, file);
      });
    },
    abandon: () => rmSync(partial, { force: true }),
  };
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
