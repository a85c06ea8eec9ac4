/**
 * Where the files of this program are. It runs from its sources, from what the compiler makes of each of them (`dist`), and from a
 * bundle (`dist/command`, with chunks in `src/chunks`). In all three, this module is two folders below the place that `src`, `mm`
 * and `arch` are in.
 */
import { existsSync } from "node:fs";
import { extname } from "node:path";

const HERE = import.meta.url;
const ENDING = extname(HERE);

/** Whether compiled files run: threads can be started from no others. */
export const IS_COMPILED = ENDING === ".js";

/**
 * A module of this program by its path without its ending (`src/sweep/worker`): what a thread begins with, or what code of one's own
 * imports. In a bundle it must be one of its entries (`build:command` in package.json).
 */
export function programModule(path: string): URL {
  return new URL(`../../${path}${ENDING}`, HERE);
}

/** A file of the package by its path (`dist/web/`), whether it is there or not. */
export function packageFile(path: string): URL {
  return new URL(path, packageRoot());
}

let root: URL | null = null;

/** The folder with the nearest package.json. */
function packageRoot(): URL {
  if (root !== null) return root;
  let folder = new URL(".", HERE);
  while (!existsSync(new URL("package.json", folder))) {
    const above = new URL("..", folder);
    if (above.href === folder.href) throw new Error("package.json is not where it belongs");
    folder = above;
  }
  root = folder;
  return folder;
}
