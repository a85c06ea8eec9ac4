/**
 * Files that commands write. A regular file appears only when it is whole: it is written beside its place, then renamed over
 * what was there, with symbolic links followed. Devices and pipes are written as they are.
 */
import { closeSync, openSync } from "node:fs";
import { writing } from "./output-error.ts";
import { type OutputTarget, outputTarget } from "./output-target.ts";
import { PartialFile } from "./partial-file.ts";
import { writeAll } from "./write-all.ts";

const BUFFER_CHARACTERS = 1 << 20;

/** A file that is being written. */
export class OutputFile {
  /** Its name as the user gave it. */
  readonly file: string;
  private readonly descriptor: number;
  private readonly partial: PartialFile | null;
  private readonly closesDescriptor: boolean;
  private pending: string[] = [];
  private pendingCharacters = 0;
  private isOpen = true;

  /** @throws OutputFileError when it cannot be created */
  constructor(file: string) {
    this.file = file;
    const target = outputTarget(file);
    const { partial, descriptor } = writing(file, () => openTarget(target));
    this.partial = partial;
    this.descriptor = descriptor;
    this.closesDescriptor = target.kind === "stream";
  }

  /** Adds text or bytes. @throws OutputFileError when they cannot be written; the file is then abandoned */
  write(content: string | Uint8Array): void {
    if (typeof content === "string") {
      this.pending.push(content);
      this.pendingCharacters += content.length;
      if (this.pendingCharacters >= BUFFER_CHARACTERS) this.flush();
      return;
    }
    this.flush();
    this.writeNow(content);
  }

  /** Puts the whole file in its place. @throws OutputFileError when that is not possible; the file is then abandoned */
  finish(): void {
    this.flush();
    this.isOpen = false;
    writing(this.file, () => {
      this.partial?.finish();
      if (this.closesDescriptor) closeSync(this.descriptor);
    });
  }

  /** Leaves nothing behind; what a device or pipe has got stays there. May be called at any time, also after a failure. */
  abandon(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.partial?.abandon();
    if (this.closesDescriptor) closeSync(this.descriptor);
  }

  private flush(): void {
    if (this.pending.length === 0) return;
    const text = this.pending.join("");
    this.pending = [];
    this.pendingCharacters = 0;
    this.writeNow(Buffer.from(text));
  }

  private writeNow(bytes: Uint8Array): void {
    try {
      writing(this.file, () => writeAll(this.descriptor, bytes));
    } catch (error) {
      this.abandon();
      throw error;
    }
  }
}

/**
 * Writes a whole file; one that was there is replaced only when all has been written.
 * @throws OutputFileError when that is not possible
 */
export function writeOutputFile(file: string, ...parts: readonly (string | Uint8Array)[]): void {
  const output = new OutputFile(file);
  for (const part of parts) output.write(part);
  output.finish();
}

function openTarget(target: OutputTarget): { partial: PartialFile | null; descriptor: number } {
  switch (target.kind) {
    case "file": {
      const partial = new PartialFile(target.path, target.mode);
      return { partial, descriptor: partial.descriptor };
    }
    case "stream":
      return { partial: null, descriptor: openSync(target.path, "w") };
    case "descriptor":
      return { partial: null, descriptor: target.descriptor };
  }
}
