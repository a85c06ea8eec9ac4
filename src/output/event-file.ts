/** Events of vmalloc in a file: ftrace text, CSV, JSON lines or Parquet, by the ending of the file's name. */
import { extname } from "node:path";
import {
  type FtraceOptions,
  ftraceCalls,
  ftraceText,
  type VmallocEvents,
  watchIdle,
  watchMisses,
  watchTlbFlushes,
  watchUserMode,
} from "../../mm/index.ts";
import { OutputFile } from "../files/output-file.ts";
import { unknownFormat } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { madeBy, madeByLine } from "../provenance/made-by.ts";
import { EVENT_COLUMNS, type EventFile, type EventRow, eventRows } from "./event-rows.ts";

/** The endings of names, and what they stand for. */
export const EVENT_FILE_FORMATS = ".txt (ftrace text), .csv, .jsonl or .parquet";

/**
 * Opens `file` for the events of `kernel`.
 * @throws OutputFileError (its promise is rejected) for an unknown ending, or when the file cannot be created
 */
export async function openEventFile(file: string, kernel: Kernel): Promise<EventFile> {
  switch (extname(file).toLowerCase()) {
    case ".txt":
    case ".ftrace":
      return textFile(file, (write) => {
        const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
        write(`# tracer: nop\n#\n${madeByLine()}`);
        return traceEverything(kernel, cyclesPerSecond, (line) => write(`${line}\n`));
      });
    case ".jsonl":
      return textFile(file, (write) => {
        const made = madeBy();
        if (made !== null) write(`${JSON.stringify({ madeBy: made })}\n`);
        return eventRows(kernel.machine.loop, (row) => write(`${JSON.stringify(row)}\n`));
      });
    case ".csv": {
      const { stringify } = await import("csv-stringify/sync");
      const csvLine = (row: EventRow): string => stringify([EVENT_COLUMNS.map(({ name }) => row[name])]);
      return textFile(file, (write) => {
        write(madeByLine());
        write(`${EVENT_COLUMNS.map(({ name }) => name).join(",")}\n`);
        return eventRows(kernel.machine.loop, (row) => write(csvLine(row)));
      });
    }
    case ".parquet": {
      // Its writer is loaded by those who use it: 50 ms.
      const { parquetFile } = await import("./parquet-file.ts");
      return parquetFile(file, kernel);
    }
    default:
      throw unknownFormat(file, EVENT_FILE_FORMATS);
  }
}

/** The kernel's tracepoints, the calls that led to them, when CPUs were idle or in user mode, and uses of memory: all that `replay --ftrace` can use. */
export function traceEverything(
  { machine, vm }: Kernel,
  cyclesPerSecond: number,
  write: (line: string) => void,
): VmallocEvents {
  const { loop } = machine;
  // Calls of two CPUs within a microsecond must come in their order again: who comes first gets the lower address.
  const options: FtraceOptions = { cyclesPerSecond, digits: 9 };
  vm.setProbes(ftraceCalls(loop, options, write));
  watchIdle(loop, options, write);
  watchUserMode(loop, vm.flushing.userMode, options, write);
  watchTlbFlushes(loop, vm.flushing, options, write);
  watchMisses(loop, machine.cpus, options, write);
  return ftraceText(loop, options, write);
}

function textFile(file: string, observe: (write: (text: string) => void) => VmallocEvents): EventFile {
  const output = new OutputFile(file);
  return {
    observer: observe((text) => output.write(text)),
    finish: () => output.finish(),
    abandon: () => output.abandon(),
  };
}
