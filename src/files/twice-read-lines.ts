/** Lines of a text that is gone through twice, in constant memory: first for what all of it says, then line by line. */
import { statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writing } from "./output-error.ts";
import { PartialFile } from "./partial-file.ts";
import { type LineBatch, readLineBatches } from "./text-lines.ts";
import { writeAll } from "./write-all.ts";

/** What cannot be read twice (standard input, a pipe) is kept, packed as it came, in a temporary file meanwhile. */
export class TwiceReadLines {
  private readonly file: string;
  private readonly copy: PartialFile | null;

  /**
   * @param file its name; `-` is standard input
   * @throws OutputFileError when a temporary file is needed and cannot be made
   */
  constructor(file: string) {
    this.file = file;
    // What is not there is said by whoever reads it.
    const isReadTwice = statSync(file, { throwIfNoEntry: false })?.isFile() ?? file !== "-";
    const place = join(tmpdir(), "mmulab-input");
    this.copy = isReadTwice ? null : writing(place, () => new PartialFile(place, null));
  }

  /**
   * The lines, for the first time.
   * @param onRead told how many bytes of the file have been read so far
   * @throws InputFileError as `readLineBatches` does; OutputFileError when the temporary file cannot be written
   */
  first(onRead?: (bytes: number) => void): AsyncGenerator<LineBatch> {
    const { copy } = this;
    return readLineBatches(this.file, (bytes, chunk) => {
      if (copy !== null) writing(copy.path, () => writeAll(copy.descriptor, chunk));
      onRead?.(bytes);
    });
  }

  /** The lines once more, after the first time has come to its end. */
  second(onRead?: (bytes: number) => void): AsyncGenerator<LineBatch> {
    return readLineBatches(this.copy?.path ?? this.file, onRead);
  }

  /** Removes the temporary file. */
  close(): void {
    this.copy?.abandon();
  }
}
