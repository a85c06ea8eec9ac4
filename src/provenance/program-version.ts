/** Which program it is: the version of the package, and the commit that it was built from. */
import { readFileSync } from "node:fs";

/** The package's version, and the commit that was built. */
export interface ProgramVersion {
  /** `0.1.0`, as in package.json. */
  readonly version: string;
  /** The first digits of the commit; null where the package was built outside of git. */
  readonly commit: string | null;
  /** Whether files differed from that commit. */
  readonly isChanged: boolean;
}

/** What `npm run build` writes beside the built files. */
export const BUILD_FILE = new URL("../../build.json", import.meta.url);
/** Where that file is when the sources themselves run. */
const BUILD_FILE_OF_SOURCES = new URL("../../dist/build.json", import.meta.url);

let known: ProgramVersion | null = null;

/** The program that runs. */
function programVersion(): ProgramVersion {
  known ??= { version: packageVersion(), ...readBuild() };
  return known;
}

/** `0.1.0 (cc0e6e2d1a3b)`; `, changed` follows the commit where files differed from it. */
export function versionText(): string {
  const { version, commit, isChanged } = programVersion();
  return commit === null ? version : `${version} (${commit}${isChanged ? ", changed" : ""})`;
}

/** The version in package.json, which is beside `dist`, or beside `src` where the sources themselves run. */
function packageVersion(): string {
  for (const place of ["../../../package.json", "../../package.json"]) {
    const text = readOrNull(new URL(place, import.meta.url));
    if (text !== null) return (JSON.parse(text) as { version: string }).version;
  }
  throw new Error("package.json is not where it belongs");
}

function readBuild(): Pick<ProgramVersion, "commit" | "isChanged"> {
  const text = readOrNull(BUILD_FILE) ?? readOrNull(BUILD_FILE_OF_SOURCES);
  return text === null ? { commit: null, isChanged: false } : JSON.parse(text);
}

function readOrNull(file: URL): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
