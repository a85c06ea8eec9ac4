/** `mmulab rerun`: the command that made a file, once more. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { printError, printOutput } from "../command-line/standard-streams.ts";
import { outputTarget } from "../files/output-target.ts";
import { packageFile } from "../files/program-files.ts";
import { shellWord } from "../input/shell-word.ts";
import { versionText } from "../provenance/program-version.ts";
import { defaultResultsFile, defaultResultsFolder } from "../sweep/default-results.ts";

const HELP = `
Every file and every JSON, CSV and HTML that mmulab writes says which version and which command made it. Files that the
command wrote get a new name (flushes.csv: flushes.rerun.csv); nothing is overwritten but such a file of an earlier rerun. Paths in
the command are taken from where rerun is called.

What comes out is compared with FILE, text, Parquet file or saved state: the same command of the same version gives the same, but for
the words of the command itself. Sweeps run all their points again, into a file of results of their own.

Exit code: that of the command; 1 if what comes out differs from FILE; 2 if FILE does not say which command made it.

Examples:
  $ mmulab run mixed --json > report.json && mmulab rerun report.json
  $ mmulab rerun flush-cost.html --print`;

const FOLDER_OPTION = "--dir";
const SWEEP = "sweep";
/** Words of a sweep with which it keeps its results elsewhere, or only shows them. */
const KEEPS_RESULTS: readonly string[] = ["--out", FOLDER_OPTION, "--dry-run", "merge", "status"];
/** Options whose value is a file or folder that the command writes. */
export const OUTPUT_OPTIONS: readonly string[] = [
  "--events",
  "--flushes",
  "--timeline",
  "--save",
  "--html",
  "--out",
  "--parquet",
  FOLDER_OPTION,
  "--save-curves",
];

/** Adds the command; `exit` takes its exit code. */
export function addRerunCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("rerun")
    .description("Run the command again that made a file, and compare.")
    .argument("<file>", "a file that mmulab has written, or what it printed with --json or --csv")
    .option("--print", "print the command and stop")
    .option("--quiet", "print nothing but errors and what the command prints")
    .addHelpText("after", HELP)
    .action(async (file: string, options: { print?: boolean; quiet?: boolean }) => exit(await rerun(file, options)));
}

async function rerun(file: string, options: { readonly print?: boolean; readonly quiet?: boolean }): Promise<number> {
  const { readMadeBy, withoutMadeBy } = await import("../provenance/read-made-by.ts");
  const { version, command } = await readMadeBy(file);
  if (options.print) {
    printOutput(`mmulab ${command.map(shellWord).join(" ")}\n`);
    return EXIT_OK;
  }
  if (version !== versionText()) printError(`mmulab: ${file} is of mmulab ${version}, this is ${versionText()}\n`);
  const { words, outputs } = renameOutputs(command);
  makeRoom(words, outputs);
  const { exitCode, printed } = await run(words);
  const copy = outputs.find(({ name }) => resolve(name) === resolve(file))?.copy;
  for (const each of outputs) if (!options.quiet) printError(`mmulab: ${each.name}: written to ${each.copy}\n`);
  if (copy === undefined && printed === "") return exitCode;
  const isSame =
    copy === undefined
      ? withoutMadeBy(readFileSync(file, "utf8")) === withoutMadeBy(printed)
      : await (await import("./same-output.ts")).isSameOutput(file, copy);
  if (!options.quiet || !isSame) printError(`mmulab: ${isSame ? "the same as" : "differs from"} ${file}\n`);
  return isSame ? exitCode : Math.max(exitCode, EXIT_DIFFERENCES);
}

/** Results of an earlier rerun of a sweep are taken away: what is in them would count as done. @throws UsageError for a folder */
function makeRoom(words: readonly string[], outputs: readonly RenamedOutput[]): void {
  if (words[0] !== SWEEP) return;
  const folder = words[words.indexOf(FOLDER_OPTION) + 1];
  for (const { copy } of outputs) {
    if (copy !== folder) rmSync(copy, { force: true });
    else if (existsSync(copy)) throw new UsageError(`${copy} is there from an earlier rerun; remove it first`);
  }
}

/** An output of a command: its name, and the name that it has now. */
interface RenamedOutput {
  readonly name: string;
  readonly copy: string;
}

/** The words of a command with other names for what it writes; devices and pipes keep theirs. */
export function renameOutputs(command: readonly string[]): {
  readonly words: readonly string[];
  readonly outputs: readonly RenamedOutput[];
} {
  const outputs: RenamedOutput[] = [];
  const renamed = (option: string, name: string): string => {
    if (option !== FOLDER_OPTION && outputTarget(name).kind !== "file") return name;
    const ending = extname(name);
    const copy = `${name.slice(0, name.length - ending.length)}.rerun${ending}`;
    outputs.push({ name, copy });
    return copy;
  };
  const words = command.map((word, i) => {
    const [option, ...value] = word.split("=");
    if (OUTPUT_OPTIONS.includes(option) && value.length > 0) return `${option}=${renamed(option, value.join("="))}`;
    return OUTPUT_OPTIONS.includes(command[i - 1]) ? renamed(command[i - 1], word) : word;
  });
  if (command[0] === SWEEP && !command.some((word) => KEEPS_RESULTS.includes(word.split("=")[0]))) {
    const file = specificationIn(command);
    const [option, name] = command.includes("--slurm")
      ? [FOLDER_OPTION, defaultResultsFolder(file)]
      : ["--out", defaultResultsFile(file, { part: 1, parts: 1 })];
    words.splice(1, 0, option, renamed(option, name));
  }
  return { words, outputs };
}

/** The specification among the words of a sweep. */
function specificationIn(command: readonly string[]): string {
  const words = command.slice(1).filter((word) => !word.startsWith("-"));
  return words.find((word) => /\.ya?ml$/i.test(word)) ?? words[0];
}

/** Runs a command of this program; what it prints is passed on. */
function run(words: readonly string[]): Promise<{ readonly exitCode: number; readonly printed: string }> {
  const cli = fileURLToPath(packageFile("dist/src/cli.js"));
  const child = spawn(process.execPath, [cli, ...words], { stdio: ["inherit", "pipe", "inherit"] });
  const pieces: Buffer[] = [];
  child.stdout.on("data", (piece: Buffer) => {
    pieces.push(piece);
    process.stdout.write(piece);
  });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code) =>
      done({ exitCode: code ?? EXIT_DIFFERENCES, printed: Buffer.concat(pieces).toString("utf8") }),
    );
  });
}
