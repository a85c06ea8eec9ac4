/** What code of one's own threw, in one line with its place. */
import { MmulabError } from "../../arch/isa/errors.ts";
import { GeneralProtectionFault, PageFault } from "../../arch/isa/faults.ts";

/** What was thrown and, where its stack says so, the line of the file. @param path the file as stacks name it */
export function describeFailure(path: string, error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isFault = error instanceof PageFault || error instanceof GeneralProtectionFault;
  const name = isFault || error instanceof MmulabError ? "" : `${error.name}: `;
  const message = error.message.split("\n")[0].trim();
  const text = /^\w*Error: /.test(message) ? message : `${name}${message}`;
  const at = error.stack?.split("\n").find((line) => line.includes(path) && /:\d+:\d+\)?$/.test(line));
  const line = at === undefined ? null : /:(\d+):\d+\)?$/.exec(at);
  return line === null ? text : `${text} (line ${line[1]})`;
}
