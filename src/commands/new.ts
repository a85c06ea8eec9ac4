/** `mmulab new`: templates of what people write themselves. */
import { existsSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { Argument, type Command } from "commander";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { printJson, printOutput } from "../command-line/standard-streams.ts";
import { toOutputError } from "../files/output-error.ts";
import { TEMPLATES } from "../templates/index.ts";

const NAME = /^[a-z][a-z0-9-]*$/i;

/** Adds the command; `exit` takes its exit code. */
export function addNewCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("new")
    .description("Write a commented template that runs as it is. A file that exists is never overwritten.")
    .addArgument(new Argument("<kind>", "what to write").choices(Object.keys(TEMPLATES)))
    .argument("<name>", "its name; the file is NAME.ts, or NAME.json for a preset")
    .option("--json", "print the file's name and a command that runs it as one JSON object")
    .option("--quiet", "print nothing but errors")
    .addHelpText("after", "\nExamples:\n  $ mmulab new workload my-workload\n  $ mmulab new policy my-policy")
    .action((kind: string, name: string, options: { readonly json?: boolean; readonly quiet?: boolean }) => {
      const { ending, text, example } = TEMPLATES[kind];
      const bare = name.endsWith(ending) ? name.slice(0, -ending.length) : name;
      const ownName = basename(bare);
      if (!NAME.test(ownName))
        throw new UsageError(`name '${name}': expected letters, digits and -, such as my-${kind}`);
      const file = `${bare}${ending}`;
      if (existsSync(file)) throw new UsageError(`${file} exists; it is not overwritten`);
      try {
        writeFileSync(file, text(ownName), { flag: "wx" });
      } catch (error) {
        throw toOutputError(file, error);
      }
      const command = example(file.includes("/") ? file : `./${file}`);
      if (options.json) printJson({ file, command });
      else if (!options.quiet) printOutput(`wrote ${file}\n  $ ${command}\n`);
      exit(EXIT_OK);
    });
}
