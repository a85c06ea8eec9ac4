/** Help that concerns all commands: topics, completion, the man page, and that options are called and written alike. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { commandTree } from "../../../src/command-line/read-commands.ts";
import { COMMANDS as ENTRIES } from "../../../src/commands/index.ts";
import { wholeProgram } from "../../../src/commands/whole-program.ts";
import { allCommands } from "../../../src/help/command-tree.ts";
import { completionScript } from "../../../src/help/completion.ts";
import { manPage } from "../../../src/help/man-page.ts";
import { TOPICS } from "../../../src/help/topics.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const TREE = commandTree(await wholeProgram(ENTRIES));
const COMMANDS = allCommands(TREE).slice(1);

/** Options of one name whose values differ by command, and why that is no mistake. Experiments take lists of what others take one of. */
const DIFFERENT: Readonly<Record<string, string>> = {
  "--against": "replay compares settings with those of the machine, inspect a look with an earlier one",
  "--pages": "replay gives rules for page sizes, experiments numbers of pages",
  "--range": "inspect names a part of the address space, flush-ceiling numbers of pages",
};
/** `<values>`: a list. */
const LIST = "<values>";

describe("the options of all commands", () => {
  it("of one name take values of one form", () => {
    const forms = new Map<string, Map<string, string>>();
    for (const { path, options } of COMMANDS) {
      for (const { name, flags } of options) {
        const form = /[<[].*$/.exec(flags)?.[0] ?? "";
        const known = forms.get(name) ?? new Map<string, string>();
        if (form !== LIST) known.set(form, path.join(" "));
        forms.set(name, known);
      }
    }
    const differing = [...forms].filter(([name, known]) => known.size > 1 && !Object.hasOwn(DIFFERENT, name));
    expect(differing.map(([name, known]) => [name, ...known])).toEqual([]);
  });

  it("are written in small letters with dashes, and described", () => {
    for (const { path, options } of COMMANDS) {
      for (const { name, description } of options) {
        expect(`${path.join(" ")} ${name}`).toMatch(/ --[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
        expect(description, `${path.join(" ")} ${name}`).not.toBe("");
      }
    }
  });

  it("have their words apart in each command, and what is written without dashes is told how it is written", () => {
    const names = new Set(COMMANDS.flatMap(({ options }) => options.map(({ name }) => name)));
    const letters = (name: string): string => name.replaceAll(/(?<!^)(?<!^-)-/g, "");
    const dashed = new Set([...names].filter((name) => letters(name) !== name).map(letters));
    expect([...names].filter((name) => dashed.has(name))).toEqual([]);
    for (const words of [
      ["run", "--lazymax", "512"],
      ["run", "--lazymax=512"],
      ["experiment", "lazy-threshold", "--lazymax=512"],
    ]) {
      const { stderr, status } = mmulab(...words);
      expect(stderr).toBe("mmulab: unknown option '--lazymax' (did you mean --lazy-max?)\n");
      expect(status).toBe(2);
    }
  });
});

/** Whether a shell is installed. */
const hasShell = (shell: string): boolean => spawnSync(shell, ["-c", "exit 0"]).status === 0;

/** What is typed, and the words that may follow in place of the last. */
const COMPLETED: readonly (readonly [string, readonly string[]])[] = [
  ["ins", ["inspect"]],
  ["inspect vm", ["vmallocinfo", "vmstat"]],
  ["inspect page-tables --range m", ["modules"]],
  ["inspect tlb --ra", ["--range"]],
  ["experiment flush-", ["flush-ceiling", "flush-cost"]],
  ["experiment flush-cost --polic", ["--policies"]],
  ["sweep st", ["status"]],
  ["run fork", ["fork_storm"]],
  ["run --policy def", ["deferred"]],
  ["replay --preset zen", ["zen2", "zen3", "zen4", "zen5"]],
  ["run --kernel 7", ["7.3"]],
  ["help addr", ["addresses"]],
];

/** In a terminal of its own, what has become of `mmulab WORDS` after the tab key: `$1` the script, `$2` the words. */
const ZSH_TAB = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PROMPT='
zpty -w shell "source $1"
zpty -w shell 'mmulab() { print -r -- "got: <$*>" }'
zpty -w shell "print rea''dy"
while zpty -r shell line; do [[ $line == *ready* ]] && break; done
zpty -w -n shell "mmulab $2"$'\\t\\n'
while zpty -r shell line; do
  if [[ $line == *'got: <'* ]]; then print -r -- "\${\${line#*<}%>*}"; break; fi
done
zpty -d shell`;

describe("completion", () => {
  it("of bash knows commands, what is below them, options and their values", () => {
    const script = folder.write("completion.sh", completionScript(TREE, "bash"));
    const complete = (...words: string[]): string[] => {
      const call = `source ${script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mmulab; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = spawnSync("bash", ["-c", call, "bash", "mmulab", ...words], {
        encoding: "utf8",
        cwd: folder.path,
      });
      expect(stderr).toBe("");
      return stdout.trim().split("\n");
    };
    expect(complete("ins")).toEqual(["inspect"]);
    expect(complete("inspect", "vm")).toEqual(["vmallocinfo", "vmstat"]);
    expect(complete("inspect", "page-tables", "--range", "m")).toEqual(["modules"]);
    expect(complete("inspect", "tlb", "--ra")).toEqual(["--range"]);
    expect(complete("experiment", "flush-")).toEqual(["flush-cost", "flush-ceiling"]);
    expect(complete("experiment", "flush-cost", "--polic")).toContain("--policies");
    expect(complete("sweep", "st")).toEqual(["status"]);
    expect(complete("run", "fork")).toEqual(["fork_storm"]);
    expect(complete("inspect", "tlb", "comp")).toEqual(["completion.sh"]);
    expect(complete("run", "--policy", "def")).toEqual(["deferred"]);
    expect(complete("run", "--policy", "comp")).toEqual(["completion.sh"]);
    expect(complete("run", "--kernel", "")).toEqual(["6.1", "6.6", "6.12", "6.15", "7.3"]);
    expect(complete("help", "tr")).toEqual(["traces"]);
  });

  it("of fish names every command and option once in its place", () => {
    const lines = completionScript(TREE, "fish").split("\n");
    for (const { path } of COMMANDS) {
      expect(lines.some((line) => line.includes(` -a ${path[path.length - 1]}`))).toBe(true);
    }
    expect(lines).toContain(
      "complete -c mmulab -n '__fish_seen_subcommand_from inspect' -l range -x -a 'vmalloc modules kernel all' -d 'part of the address space for page-tables, space, or FILE'",
    );
    expect(new Set(lines).size).toBe(lines.length);
  });

  it.skipIf(!hasShell("fish"))("of fish completes in a fish", () => {
    const script = folder.write("mmulab.fish", completionScript(TREE, "fish"));
    for (const [typed, expected] of COMPLETED) {
      const call = `source ${script}; complete -C 'mmulab ${typed}'`;
      const { stdout, stderr } = spawnSync("fish", ["--no-config", "-c", call], { encoding: "utf8", cwd: folder.path });
      expect(stderr).toBe("");
      const words = stdout.split("\n").map((line) => line.split("\t")[0]);
      for (const word of expected) expect(words, typed).toContain(word);
    }
  });

  it.skipIf(!hasShell("zsh"))("of zsh completes at the tab key of a zsh", () => {
    const script = folder.write("mmulab.zsh", completionScript(TREE, "zsh"));
    const driver = folder.write("tab.zsh", ZSH_TAB);
    for (const [typed, [word, ...others]] of COMPLETED) {
      if (others.length > 0) continue;
      const { stdout } = spawnSync("zsh", ["-f", driver, script, typed], {
        encoding: "utf8",
        cwd: folder.path,
        timeout: 20_000,
      });
      expect(stdout.trim(), typed).toBe(typed.replace(/\S*$/, word));
    }
  });

  it("is printed for each shell, and for no other", () => {
    expect(mmulab("completion", "zsh").stdout).toMatch(
      /^autoload -U \+X compinit[\s\S]*complete -o filenames -F _mmulab mmulab\n$/,
    );
    const none = mmulab("completion", "tcsh");
    expect(none).toMatchObject({ status: 2, stdout: "" });
    expect(none.stderr).toMatch(/unknown shell 'tcsh'.*bash, zsh, fish/);
  });
});

describe("topics", () => {
  it("fit 80 columns, name commands that there are, and are found by their names", () => {
    const names = COMMANDS.map(({ path }) => path.join(" "));
    for (const { text } of TOPICS) {
      for (const line of text.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
      for (const [, command] of text.matchAll(/^ {2}mmulab ([a-z-]+)/gm)) expect(names).toContain(command);
    }
    expect(mmulab("help", "exit-codes")).toMatchObject({ status: 0, stderr: "" });
    expect(mmulab("help", "adresses").stderr).toMatch(/did you mean addresses\?/);
  });
});

describe("the man page", () => {
  it("has every command with every option, in the language of man", () => {
    const page = manPage(TREE, "1.2.3");
    const plain = page.replaceAll("\\-", "-").replaceAll("\\e", "\\");
    expect(page).toMatch(/^\.TH MMULAB 1 "" "mmulab 1\.2\.3"/);
    for (const { path, options } of COMMANDS) {
      expect(plain).toContain(`.SS "mmulab ${path.join(" ")}`);
      for (const { flags } of options) expect(plain).toContain(`.B ${flags}\n`);
    }
    for (const line of page.split("\n"))
      if (line.startsWith(".")) expect(line).toMatch(/^\.(TH|SH|SS|TP|PP|B|I|nf|fi)( |$)/);
  });
});
