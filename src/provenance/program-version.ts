/** Which program it is: the version of the package, and the commit that it was built from. */
import { readFileSync } from "node:fs";
import { packageFile } from "../files/program-files.ts";

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
export const BUILD_FILE = packageFile("dist/build.json");

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

function packageVersion(): string {
  return (JSON.parse(readFileSync(packageFile("package.json"), "utf8")) as { version: string }).version;
}

function readBuild(): Pick<ProgramVersion, "commit" | "isChanged"> {
  const text = readOrNull(BUILD_FILE);
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
