#!/usr/bin/env node
/** The `mmulab` command. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { MachineUsageError } from "../arch/index.ts";
import { ConfigError } from "../mm/index.ts";
import { addExperimentCommand } from "./commands/experiment.ts";
import { addInspectCommand } from "./commands/inspect.ts";
import { addReplayCommand } from "./commands/replay.ts";
import { addRunCommand } from "./commands/run.ts";
import { addSweepCommand } from "./commands/sweep.ts";
import { EXIT_OK, EXIT_USAGE, UsageError } from "./input/errors.ts";
import { RecordingError } from "./input/recording-error.ts";
import { suggestion } from "./input/suggestion.ts";

const HELP = `
Examples:
  $ mmulab run
  $ mmulab replay test/recordings/*.jsonl.gz
  $ mmulab experiment flush-cost --cpus 1,16,128
  $ mmulab help replay`;

/** Runs the command line `argv` (without `node` and the script) and returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  let code = EXIT_OK;
  const exit = (value: number): void => {
    code = value;
  };
  const program = new Command("mmulab")
    .description("A hardware-level x86-64 MMU emulator with Linux's vmalloc on top.")
    .version(version())
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText("after", HELP);
  addRunCommand(program, exit);
  addReplayCommand(program, exit);
  addInspectCommand(program, exit);
  addExperimentCommand(program, exit);
  addSweepCommand(program, exit);
  addHelpCommand(program);
  for (const command of program.commands) command.copyInheritedSettings(program);
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    const line = userMistake(error);
    if (line === null) throw error;
    if (line !== "") process.stderr.write(`mmulab: ${line}\n`);
    return error instanceof CommanderError && error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
}

/** `mmulab help COMMAND...`; the command of the library itself says nothing of a name that it does not know. */
function addHelpCommand(program: Command): void {
  program
    .helpCommand(false)
    .command("help")
    .argument("[command...]", "which command")
    .summary("display help for a command")
    .addHelpText("after", "\nExample:\n  $ mmulab help experiment flush-cost")
    .action((names: string[]) => {
      let command: Command = program;
      for (const name of names) {
        const known = command.commands.map((each) => each.name());
        const found = command.commands.find((each) => each.name() === name);
        if (found === undefined) throw new UsageError(`unknown command '${name}'${suggestion(name, known)}`);
        command = found;
      }
      command.help();
    });
}

/** The one line to show for a mistake of the user (empty when help or the version was all there was to show), or null. */
function userMistake(error: unknown): string | null {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0 || error.code === "commander.help") return "";
    return error.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ");
  }
  const isMistake =
    error instanceof UsageError ||
    error instanceof RecordingError ||
    error instanceof ConfigError ||
    error instanceof MachineUsageError;
  if (isMistake) return error.message;
  return null;
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** A reader that goes away (`mmulab ... | head`) ends the program without a complaint. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

process.exitCode = await main(process.argv.slice(2));
