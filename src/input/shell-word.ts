/** Words of a command line as a POSIX shell takes them. */

/** `word` as it is, or in quotes where the shell would take it for more than a word. */
export function shellWord(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
