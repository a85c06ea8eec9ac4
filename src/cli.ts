#!/usr/bin/env node
/** The `mmulab` command. */
import { writeSync } from "node:fs";
import { Command } from "commander";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, endingOf, oneLine } from "./command-line/errors.ts";
import { refuseRepeated } from "./command-line/repeated-options.ts";
import { flushStandardStreams, printError, printOutput, ReaderGone } from "./command-line/standard-streams.ts";
import { terminalWidth } from "./command-line/terminal-width.ts";
import { explainUnknown } from "./command-line/unknown-words.ts";
import { COMMANDS } from "./commands/index.ts";
import { addHelpCommand, DESCRIPTION, HELP_COMMAND } from "./commands/whole-program.ts";
import { TOPICS } from "./help/topics.ts";
import { UnknownNameError } from "./input/errors.ts";
import { suggestion } from "./input/suggestion.ts";
import { noteCommand } from "./provenance/made-by.ts";
import { versionText } from "./provenance/program-version.ts";
import { setTextWidth, textWidth } from "./report/text-width.ts";
import { wrapProse } from "./report/wrapped-text.ts";

const HELP = `
Examples:
  $ mmulab run
  $ mmulab replay recordings/*.jsonl.gz
  $ mmulab experiment flush-cost --cpus 1,16,128
  $ mmulab help replay

Topics (mmulab help TOPIC):
${TOPICS.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}`;

/** Runs the command line `argv` (without `node` and the script) and returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  let code = EXIT_OK;
  const exit = (value: number): void => {
    code = value;
  };
  const program = new Command("mmulab")
    .description(DESCRIPTION)
    .version(versionText())
    .configureOutput({ writeOut: printHelp, writeErr: printError, outputError: () => {} })
    .exitOverride()
    .showSuggestionAfterError(false)
    .addHelpText("after", HELP);
  program.hook("preAction", (_, action) => noteCommand(argv, action.optsWithGlobals()));
  setTextWidth(terminalWidth(process.stdout, process.env));
  try {
    await loadOwnPolicies(argv);
    await addCommands(program, exit, argv);
    addHelp(program);
    for (const command of program.commands) command.copyInheritedSettings(program);
    refuseRepeated(program);
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (error) {
    return reportFailure(explainUnknown(error, program, argv));
  }
}

/**
 * Adds all commands: the one that is asked for with all that it has, of the others what a list of commands shows.
 * @param argv `run ...`, or `help run`
 */
async function addCommands(program: Command, exit: (code: number) => void, argv: readonly string[]): Promise<void> {
  const [first, second] = argv.filter((word) => !word.startsWith("-"));
  const wanted = first === HELP_COMMAND ? second : first;
  for (const { name, summary, load } of COMMANDS) {
    if (name === wanted) await (await load())(program, exit, argv);
    else program.command(name);
    program.commands.find((command) => command.name() === name)?.summary(summary);
  }
}

/** Prints help, whose lines keep to the width of a terminal. */
function printHelp(text: string): void {
  printOutput(wrapProse(text, textWidth()));
}

/** Flush policies in files of one's own are loaded before options are read. */
async function loadOwnPolicies(argv: readonly string[]): Promise<void> {
  if (!argv.some((word) => /^--polic(?:y|ies)/.test(word))) return;
  await (await import("./settings/own-policy.ts")).loadPoliciesOf(argv);
}

/** `mmulab help COMMAND...` and `mmulab help TOPIC`; the command of the library itself says nothing of a name that it does not know. */
function addHelp(program: Command): void {
  addHelpCommand(program).action((names: string[]) => {
    const topic = TOPICS.find(({ name }) => names.length === 1 && name === names[0]);
    if (topic !== undefined) {
      printHelp(`${topic.text}\n`);
      return;
    }
    let command: Command = program;
    for (const name of names) {
      const topics = command === program ? TOPICS.map((each) => each.name) : [];
      const known = [...command.commands.map((each) => each.name()), ...topics];
      const found = command.commands.find((each) => each.name() === name);
      if (found === undefined)
        throw new UnknownNameError(`unknown command '${name}'${suggestion(name, known)}`, name, known);
      command = found;
    }
    command.help();
  });
}

/** Tells what ended the command in one line on standard error, and returns the exit code. */
function reportFailure(error: unknown): number {
  if (error instanceof ReaderGone || (error as NodeJS.ErrnoException | null)?.code === "EPIPE") return EXIT_OK;
  const ending = endingOf(error);
  if (ending === null) {
    printError(`mmulab: ${describeBug(error)}\n`);
    return EXIT_FAILURE;
  }
  if (ending.line !== "") printError(`mmulab: ${ending.line}\n`);
  return ending.exitCode;
}

/** One line on what no one has foreseen: a bug of this program. */
function describeBug(error: unknown): string {
  if (process.env.MMULAB_STACK !== undefined && error instanceof Error) return error.stack ?? String(error);
  return `the emulator failed (a bug; MMULAB_STACK=1 shows where): ${oneLine(String(error))}`;
}

/** What a library throws or rejects outside of any call of ours ends the command in the same way. */
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => process.exit(reportFailure(error)));
}

/** Node's exit code where nothing is left to do, but something is still waited for. */
const EXIT_UNSETTLED = 13;

process.on("exit", () => {
  if (process.exitCode !== EXIT_UNSETTLED) return;
  writeSync(2, "mmulab: nothing is left to run, but a file of one's own still waits for something (await)\n");
  process.exitCode = EXIT_USAGE;
});

const code = await main(process.argv.slice(2));
await flushStandardStreams();
// Not left to Node: at its own end, Node 20 waits for the threads that optimize code, and these may wait for a garbage
// collection that the main thread no longer makes (nodejs/node, issue 54918).
process.exit(code);
