/** Whether two files that this program wrote hold the same, whatever kind of file they are. */
import { readFileSync } from "node:fs";
import { withoutMadeBy } from "../provenance/read-made-by.ts";
import { isStateFile } from "../state/machine-state.ts";
import { STATE_CHECKSUM_BYTES } from "../state/state-kernel.ts";

const PARQUET_MAGIC = "PAR1";
/** Behind the metadata of a Parquet file: its length and the magic number. */
const PARQUET_TAIL_BYTES = 8;
const NEWLINE = 0x0a;

/**
 * Whether `file` and `other` hold the same but for what each says of its making: text as it is, Parquet files column by column, saved
 * states with their configuration and all of the machine.
 */
export async function isSameOutput(file: string, other: string): Promise<boolean> {
  const [before, after] = [readFileSync(file), readFileSync(other)];
  if (before.subarray(0, PARQUET_MAGIC.length).toString("latin1") === PARQUET_MAGIC) {
    return await isSameParquet(before, after);
  }
  if (isStateFile(file)) return isSameState(before, after);
  return withoutMadeBy(before.toString("utf8")) === withoutMadeBy(after.toString("utf8"));
}

/** What it says of its making stands in the metadata, behind all columns. */
async function isSameParquet(before: Buffer, after: Buffer): Promise<boolean> {
  const { parquetMetadata } = await import("hyparquet");
  const partsOf = (bytes: Buffer): { readonly columns: Buffer; readonly metadata: string } => {
    const end = bytes.length - PARQUET_TAIL_BYTES;
    const all = parquetMetadata(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
    const { key_value_metadata: _, metadata_length: __, ...own } = all;
    const metadata = JSON.stringify(own, (___, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    return { columns: bytes.subarray(0, end - bytes.readUInt32LE(end)), metadata };
  };
  const [one, another] = [partsOf(before), partsOf(after)];
  return one.metadata === another.metadata && one.columns.equals(another.columns);
}

/** The checksum at the end is also that of the line that says what made it. */
function isSameState(before: Buffer, after: Buffer): boolean {
  const partsOf = (bytes: Buffer): { readonly header: string; readonly body: Buffer } => {
    const end = bytes.indexOf(NEWLINE);
    const body = bytes.subarray(end + 1, bytes.length - STATE_CHECKSUM_BYTES);
    return { header: withoutMadeBy(bytes.subarray(0, end).toString("utf8")), body };
  };
  const [one, another] = [partsOf(before), partsOf(after)];
  return one.header === another.header && one.body.equals(another.body);
}
