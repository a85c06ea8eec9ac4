/** What `--preset` and `--set` ask for, files of presets included. */
import type { Preset } from "../../arch/index.ts";
import { choiceOf, type FigureChoice } from "./figure-choice.ts";
import { findPreset, isPresetFile } from "./presets.ts";

/**
 * The preset called `word`, or in the file `word`.
 * @throws UnknownNameError, InputFileError when there is none or it is wrong
 */
export async function loadPreset(word: string): Promise<Preset> {
  if (!isPresetFile(word)) return findPreset(word);
  // Only those who give a file wait for its parser.
  const { readPresetFile } = await import("./preset-file.ts");
  return readPresetFile(word);
}

/**
 * The figures that `--preset` and `--set` ask for.
 * @param word a preset's name or a file
 * @param words `NAME=VALUE`
 * @param option what the words were given by, for errors
 * @throws UnknownNameError, InputFileError, ValueError for what is wrong
 */
export async function chooseFigures(
  word: string,
  words: readonly string[] = [],
  option?: string,
): Promise<FigureChoice> {
  return choiceOf(word, await loadPreset(word), words, option);
}
