/** A record of every flush in a file: JSON lines or CSV, by the ending of the file's name. */
import { extname } from "node:path";
import { formatLinearAddress } from "../../arch/index.ts";
import type { FlushAccounts } from "../../mm/index.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { unknownFormat } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { madeBy, madeByLine } from "../provenance/made-by.ts";

/** The endings of names, and what they stand for. */
export const FLUSH_FILE_FORMATS = ".jsonl (with each free that led to it) or .csv";

const ENDINGS = [".jsonl", ".csv"];

/** @throws OutputFileError for a name of unknown ending */
export function checkFlushFile(file: string): void {
  if (ENDINGS.includes(extname(file).toLowerCase())) return;
  throw unknownFormat(file, FLUSH_FILE_FORMATS);
}

/**
 * Writes the flushes that a kernel has kept accounts of. Cycles are of the emulated CPUs.
 * @throws OutputFileError (its promise is rejected) when the file cannot be written
 */
export async function writeFlushFile(file: string, kernel: Kernel): Promise<void> {
  const accounts = kernel.vm.flushing.keepAccounts();
  const rows = flushRows(accounts);
  if (extname(file).toLowerCase() === ".csv") {
    const { stringify } = await import("csv-stringify/sync");
    const table = stringify(rows.length === 0 ? [] : [Object.keys(rows[0]), ...rows.map(Object.values)]);
    writeOutputFile(file, madeByLine() + table);
    return;
  }
  const fed = freesByFlush(accounts);
  const lines = rows.map((row) => `${JSON.stringify({ ...row, freed: fed.get(row.id) ?? [] })}\n`);
  const made = madeBy();
  const first = made === null ? "" : `${JSON.stringify({ madeBy: made })}\n`;
  writeOutputFile(file, first + lines.join(""));
}

/** One row a flush. */
function flushRows(accounts: FlushAccounts) {
  return accounts.records.map((record) => {
    const cost = accounts.costOf(record);
    return {
      id: record.id,
      cause: record.cause,
      policy: record.policy,
      cpu: record.cpu,
      atCycles: Math.round(record.atCycles),
      start: formatLinearAddress(record.start),
      end: formatLinearAddress(record.end),
      pages: record.pages,
      wholeTlbBecause: record.fullBecause ?? "",
      interruptedCpus: record.interrupted,
      deferredCpus: record.deferred,
      frees: record.frees,
      freedPages: record.freedPages,
      workCycles: cost.workCycles,
      waitCycles: cost.waitCycles,
      stolenCycles: cost.stolenCycles,
      lineCycles: cost.lineCycles,
      stolenFromRunningCycles: record.stolenFromRunningCycles,
      refillCycles: cost.refillCycles,
      refills: cost.refills,
    };
  });
}

/** The frees that fed each flush, by its number. */
function freesByFlush({ frees }: FlushAccounts): Map<number, object[]> {
  const byFlush = new Map<number, object[]>();
  for (let i = 0; i < frees.length; i++) {
    const free = {
      start: formatLinearAddress(frees.start[i]),
      pages: frees.pages[i],
      by: frees.originOf(i),
      cpu: frees.cpu[i],
      atCycles: Math.round(frees.atCycles[i]),
    };
    const others = byFlush.get(frees.flush[i]);
    if (others === undefined) byFlush.set(frees.flush[i], [free]);
    else others.push(free);
  }
  return byFlush;
}
