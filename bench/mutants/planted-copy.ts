/** A copy of what was built, in which files are replaced by changed ones. No file of the project is changed. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { transformSync } from "esbuild";

/** The copy of one process. */
export class PlantedCopy {
  private readonly folder = join(".mutants", `races-${process.pid}`);

  /** Copies what was built last. */
  constructor() {
    mkdirSync(this.folder, { recursive: true });
    for (const name of ["arch", "mm", "src", "bench"]) {
      cpSync(join("dist", name), join(this.folder, name), { recursive: true });
    }
  }

  /** Removes it. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * Runs a program of the copy, with the texts of some files of TypeScript in place of what they were; what it prints, or null when it
   * does not end well.
   * @param texts by the names of the files, as seen from the project's folder
   */
  run(
    texts: ReadonlyMap<string, string>,
    program: string,
    args: readonly string[],
    timeoutMs: number,
  ): { readonly stdout: string | null; readonly stderr: string } {
    const before = new Map<string, Buffer>();
    for (const [file, text] of texts) {
      const target = join(this.folder, file.replace(/\.ts$/, ".js"));
      before.set(target, readFileSync(target));
      const { code } = transformSync(text, { loader: "ts", format: "esm", target: "es2022" });
      writeFileSync(target, code.replaceAll(/(from\s*"\.[^"]*)\.ts"/g, '$1.js"'));
    }
    try {
      const { stdout, stderr, status } = spawnSync(process.execPath, [join(this.folder, program), ...args], {
        encoding: "utf8",
        timeout: timeoutMs,
        maxBuffer: 2 ** 28,
      });
      return { stdout: status === 0 ? stdout : null, stderr };
    } finally {
      for (const [target, code] of before) writeFileSync(target, code);
    }
  }
}
