/** The man page, out of the commands and the topics of the help. */
import { allCommands, type CommandTree } from "./command-tree.ts";
import { TOPICS } from "./topics.ts";

/** The page in the language of man (7). @param version the package's version */
export function manPage(tree: CommandTree, version: string): string {
  const commands = allCommands(tree).slice(1);
  return [
    `.TH MMULAB 1 "" "mmulab ${version}" "User Commands"`,
    ".SH NAME",
    `mmulab \\- ${escaped(tree.description)}`,
    ".SH SYNOPSIS",
    ".B mmulab",
    ".I command",
    "[options]",
    ".SH COMMANDS",
    ...tree.commands.flatMap(({ path, summary }) => [".TP", `.B ${escaped(path.join(" "))}`, text(summary)]),
    ...commands.flatMap(commandSection),
    ...TOPICS.flatMap((topic) => [
      `.SH ${escaped(topic.name.toUpperCase())}`,
      text(topic.summary),
      ".PP",
      ".nf",
      text(topic.text),
      ".fi",
    ]),
    ".SH SEE ALSO",
    "The folder docs of the package; mmulab help COMMAND.",
    "",
  ].join("\n");
}

function commandSection({ path, description, usage, options }: CommandTree): string[] {
  return [
    `.SS "mmulab ${escaped(path.join(" "))} ${escaped(usage)}"`,
    text(description),
    ...options.flatMap((option) => {
      const note = option.default === "" ? "" : ` (default: ${option.default})`;
      return [".TP", `.B ${escaped(option.flags)}`, text(option.description + note)];
    }),
  ];
}

function text(words: string): string {
  return words
    .split("\n")
    .map((line) => (/^[.']/.test(line) ? `\\&${escaped(line)}` : escaped(line)))
    .join("\n");
}

function escaped(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-");
}
