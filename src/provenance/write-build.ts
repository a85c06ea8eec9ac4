/** A step of `npm run build`: writes which commit is built, for `mmulab --version` and for what results say of their making. */
import { execFileSync } from "node:child_process";
import { realpathSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BUILD_FILE, type ProgramVersion } from "./program-version.ts";

const COMMIT_DIGITS = 12;
const UNKNOWN = { commit: null, isChanged: false };

function git(...args: string[]): string {
  return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
}

function buildOf(): Pick<ProgramVersion, "commit" | "isChanged"> {
  try {
    // A package that lies in somebody else's repository is not built from a commit of that.
    const isOurs =
      realpathSync(git("rev-parse", "--show-toplevel")) ===
      realpathSync(fileURLToPath(new URL("..", BUILD_FILE)).replace(/\/$/, ""));
    if (!isOurs) return UNKNOWN;
    const commit = git("rev-parse", `--short=${COMMIT_DIGITS}`, "HEAD");
    return { commit, isChanged: git("status", "--porcelain", "--untracked-files=no") !== "" };
  } catch {
    // No git, or no repository: a package that was unpacked is built like that.
    return UNKNOWN;
  }
}

writeFileSync(BUILD_FILE, `${JSON.stringify(buildOf())}\n`);
