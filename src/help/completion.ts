/** Completion scripts for shells, out of the commands themselves: each script holds all words, and calls nothing. */
import { allCommands, type CommandTree, type OptionEntry } from "./command-tree.ts";

/** Shells that there are scripts for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The script for a shell. */
export function completionScript(tree: CommandTree, shell: Shell): string {
  if (shell === "fish") return fishScript(tree);
  // zsh runs completion functions of bash as they are.
  const prefix =
    shell === "zsh" ? "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" : "";
  return prefix + bashScript(tree);
}

/** Words that may follow a command: those below it, and what its argument may be. */
function wordsOf({ commands, choices }: CommandTree): string[] {
  return [...commands.map(({ path }) => path[path.length - 1]), ...choices];
}

function bashScript(tree: CommandTree): string {
  const cases = allCommands(tree).map((command) => {
    const options = command.options.map(({ name }) => name).join(" ");
    const withChoices = command.options.filter(({ choices }) => choices.length > 0);
    const withValues = command.options.filter(({ takesValue, choices }) => takesValue && choices.length === 0);
    const values = withChoices.map(({ name, choices, takesFiles }) => {
      const files = takesFiles ? ' $(compgen -f -- "$cur")' : "";
      return `        ${name}) COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur")${files}); return ;;\n`;
    });
    const files =
      withValues.length === 0
        ? ""
        : `        ${withValues.map(({ name }) => name).join("|")}) COMPREPLY=($(compgen -f -- "$cur")); return ;;\n`;
    const ofOption =
      values.length + files.length === 0 ? "" : `      case "$prev" in\n${values.join("")}${files}      esac\n`;
    return `    "${command.path.join(" ")}")\n${ofOption}      options="${options}"; words="${wordsOf(command).join(" ")}" ;;\n`;
  });
  const paths = allCommands(tree)
    .map(({ path }) => `"${path.join(" ")}"`)
    .slice(1);
  return `# Completion of mmulab for bash.
_mmulab() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" path="" options="" words="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "\${path:+$path }$word" in
      ${paths.join("|")}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join("")}  esac
  if [[ "$cur" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur"))
  elif [[ -n "$words" ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur"))
  else COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
complete -o filenames -F _mmulab mmulab
`;
}

function fishScript(tree: CommandTree): string {
  const lines = allCommands(tree).flatMap((command) => {
    const { path, commands } = command;
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const below = commands.map((each) => each.path[each.path.length - 1]);
    const notBelow = below.length === 0 ? [] : [`not __fish_seen_subcommand_from ${below.join(" ")}`];
    const condition = (parts: readonly string[]): string => (parts.length === 0 ? "" : ` -n '${parts.join("; and ")}'`);
    const here = condition([...seen, ...notBelow]);
    const words = [
      ...commands.map((each) => ({ word: each.path[each.path.length - 1], text: each.summary })),
      ...command.choices.map((word) => ({ word, text: "" })),
    ];
    return [
      ...words.map(
        ({ word, text }) => `complete -c mmulab${here} -a ${word}${text === "" ? "" : ` -d ${quoted(text)}`}`,
      ),
      ...command.options.map((option) => `complete -c mmulab${here} ${fishOption(option)}`),
    ];
  });
  return `# Completion of mmulab for fish.\n${lines.join("\n")}\n`;
}

function fishOption({ name, description, takesValue, choices, takesFiles }: OptionEntry): string {
  const words = choices.length > 0 ? ` ${takesFiles ? "-r" : "-x"} -a ${quoted(choices.join(" "))}` : "";
  const value = takesValue && words === "" ? " -r" : words;
  return `-l ${name.replace(/^-+/, "")}${value} -d ${quoted(description)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", " ")}'`;
}
