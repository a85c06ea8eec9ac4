/** `mmulab view`: the machine in a web page, step by step. */
import type { Command } from "commander";
import { EXIT_OK } from "../command-line/errors.ts";
import { optionParser } from "../command-line/option-values.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { UnknownNameError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { wholeNumber } from "../input/values.ts";
import { formatLink } from "../view/model/link.ts";
import { begin, DEFAULT_SCENARIO, type Scenario, steppedWorkloads } from "../view/model/scenario.ts";
import { STORIES } from "../view/model/stories/index.ts";
import { openCommand, startOpening } from "../view/open-browser.ts";
import { servePage } from "../view/serve.ts";

interface ViewCommandOptions {
  readonly ops: number;
  readonly seed: number;
  readonly cpus: number;
  readonly port: number;
  readonly open: boolean;
  readonly json?: boolean;
}

const HELP = `
The page shows the vmalloc range, page tables, TLBs and time, and goes through a run step by step, forwards and backwards. It is
served to this computer only, until Ctrl-C, and loads nothing from elsewhere; dist/web is the same page for any web server. Started
from a terminal of a desktop, it opens in the browser there.

Stories:
${STORIES.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

Examples:
  $ mmulab view
  $ mmulab view stale-entry
  $ mmulab view mixed --cpus 8 --ops 1000 --seed 7
  $ mmulab view fs_buffer_cache live=20 --port 8080`;

/** Adds the command; `exit` takes its exit code. */
export function addViewCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("view")
    .description("Serve a web page on this computer that shows the machine step by step, and print its address.")
    .argument("[scenario]", "a story or a workload to begin with", STORIES[0].name)
    .argument("[parameters...]", "the workload's own parameters, NAME=VALUE")
    .option("--ops <number>", "operations of the workload over all CPUs", optionParser(wholeNumber(1, 1_000_000)), 400)
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option("--cpus <number>", "CPUs of the machine, 1 to 64", optionParser(wholeNumber(1, 64)), 4)
    .option("--port <number>", "port to serve on (0: one that is free)", optionParser(wholeNumber(0, 65_535)), 0)
    .option("--no-open", "do not open the browser")
    .option("--json", "print the address as JSON")
    .addHelpText("after", HELP)
    .action(async (name: string, parameters: string[], options: ViewCommandOptions) =>
      exit(await view(name, parameters, options)),
    );
}

async function view(name: string, parameters: readonly string[], options: ViewCommandOptions): Promise<number> {
  const scenario = scenarioOf(name, parameters, options);
  // What is wrong with it is said here, not in the page.
  begin(scenario);
  const serving = await servePage(options.port);
  const link = formatLink({ scenario, position: 0, focus: { cpu: null, address: null } });
  const url = `http://127.0.0.1:${serving.port}/#${link}`;
  printOutput(options.json ? `${JSON.stringify({ url })}\n` : `${url}\nCtrl-C ends it.\n`);
  const { platform, env, stdout } = process;
  const opening = openCommand(url, { platform, env, isTerminal: stdout.isTTY });
  if (options.open && options.json !== true && opening !== null) startOpening(opening);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  serving.close();
  return EXIT_OK;
}

function scenarioOf(name: string, parameters: readonly string[], { ops, seed, cpus }: ViewCommandOptions): Scenario {
  if (steppedWorkloads().includes(name)) {
    return { ...DEFAULT_SCENARIO, name, parameters, operations: ops, seed, cpus };
  }
  if (STORIES.some((story) => story.name === name)) return { kind: "story", name };
  const known = [...STORIES.map((story) => story.name), ...steppedWorkloads()];
  const line = `unknown story or workload '${name}'${suggestion(name, known)}; there are ${known.join(", ")}`;
  throw new UnknownNameError(line, name, known);
}
