/** Which figures are read while something runs: objects of figures whose fields note it. */

/** The names of figures that were read. */
export class NotedReads {
  /** Names with dots, as `--set` has them, or the beginnings of some, with a dot at the end. */
  readonly names = new Set<string>();
  private isPaused = false;

  /** Runs what reads figures without using them, such as what makes a machine and checks its settings. */
  apart<T>(code: () => T): T {
    const wasPaused = this.isPaused;
    this.isPaused = true;
    try {
      return code();
    } finally {
      this.isPaused = wasPaused;
    }
  }

  /** A copy of an object of figures; the figure `costs.walk` is read where `value` of the copy's is. */
  copyOf<T extends object>(figures: T, prefix = ""): T {
    const copy = structuredClone(figures);
    this.noteFigures(copy, prefix);
    return copy;
  }

  /** Notes from now on each read of a number, or of a word, of an object and of those within it. @param path how their names begin */
  noteFields(object: object, path: string): void {
    for (const [key, value] of Object.entries(object)) {
      const name = `${path}.${key}`;
      if (typeof value === "object" && value !== null) this.noteFields(value as object, name);
      else this.noteField(object, key, name);
    }
  }

  /** Notes from now on each read of one field. */
  noteField(object: object, key: string, ...names: readonly string[]): void {
    const value = (object as Readonly<Record<string, unknown>>)[key];
    Object.defineProperty(object, key, {
      enumerable: true,
      configurable: true,
      get: () => {
        if (!this.isPaused) for (const name of names) this.names.add(name);
        return value;
      },
    });
  }

  private noteFigures(object: object, path: string): void {
    for (const [key, value] of Object.entries(object) as [string, unknown][]) {
      if (typeof value !== "object" || value === null) continue;
      const name = `${path}${key}`;
      if ("unit" in value) this.noteField(value, "value", name);
      else this.noteFigures(value, `${name}.`);
    }
  }
}
