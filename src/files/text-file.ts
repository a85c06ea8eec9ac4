/** Writing a whole text at once. */
import { OutputFile } from "./output-file.ts";

/**
 * Writes `text` to `file`; a file of that name is replaced only when all has been written.
 * @throws UsageError when that is not possible
 */
export function writeTextFile(file: string, text: string): void {
  const output = new OutputFile(file);
  output.write(text);
  output.finish();
}
