/** Options of commands that boot a machine: the settings of the machine and its kernel. */
import { type Command, Option } from "commander";
import { SETTING_NAMES, SETTINGS, type SettingName } from "../settings/machine-settings.ts";
import { optionParser } from "./option-values.ts";

/** Adds options for `names` to a command, under a heading of their own in its help. */
export function addMachineOptions(
  command: Command,
  names: readonly SettingName[] = SETTING_NAMES,
  heading = "Machine and kernel:",
): void {
  for (const name of names) {
    const { value, summary, parse } = SETTINGS[name];
    const option = new Option(value === "" ? `--${name}` : `--${name} ${value}`, summary).helpGroup(heading);
    command.addOption(value === "" ? option : option.argParser(optionParser(parse)));
  }
}
