/**
 * Words of memory as they were after the last step: typed arrays, and frames with page tables. What a step has changed is found by
 * comparing, as nobody could afford to note every write.
 */

/** log2 of the words in a piece. */
const PIECE_SHIFT = 12;
const PIECE_WORDS = 2 ** PIECE_SHIFT;
/** Words that are compared before it is looked which of them differ: quicker than a branch for each. */
const RUN_WORDS = 8;
/** Numbers that say one change: where, before, after. */
const CHANGE_NUMBERS = 3;

/** Words that lie one after the other, and a copy of them. */
interface Piece {
  readonly now: Int32Array;
  readonly before: Int32Array;
}

/** Words that are looked at after each step. Each belongs to a group by number, of which some are looked at each time. */
export class WordImages {
  private readonly pieces: Piece[] = [];
  /** The pieces of each group. */
  private readonly groups: number[][] = [];
  private found = new Int32Array(PIECE_WORDS * CHANGE_NUMBERS);
  private numbers = 0;

  /** Keeps words that were not looked at before, as they are now. */
  keep(words: Int32Array, group: number): void {
    this.groups[group] ??= [];
    for (let at = 0; at < words.length; at += PIECE_WORDS) {
      const now = words.subarray(at, at + PIECE_WORDS);
      this.groups[group].push(this.pieces.length);
      this.pieces.push({ now, before: now.slice() });
    }
  }

  /** Takes over what differs from the copies in some groups. @returns the changes, for `undo` and `redo` */
  takeChanges(groups: readonly number[]): Int32Array {
    this.numbers = 0;
    for (const group of groups) for (const piece of this.groups[group] ?? []) this.compare(piece);
    return this.found.slice(0, this.numbers);
  }

  /** Gives words the values that they had before changes. */
  undo(changes: Int32Array): void {
    for (let i = 0; i < changes.length; i += CHANGE_NUMBERS) this.write(changes[i], changes[i + 1]);
  }

  /** Gives words the values that they had after changes. */
  redo(changes: Int32Array): void {
    for (let i = 0; i < changes.length; i += CHANGE_NUMBERS) this.write(changes[i], changes[i + 2]);
  }

  private write(place: number, value: number): void {
    const { now, before } = this.pieces[place >>> PIECE_SHIFT];
    now[place & (PIECE_WORDS - 1)] = value;
    before[place & (PIECE_WORDS - 1)] = value;
  }

  private compare(piece: number): void {
    const { now, before } = this.pieces[piece];
    const { length } = now;
    const runsEnd = length - (length % RUN_WORDS);
    for (let i = 0; i < runsEnd; i += RUN_WORDS) {
      const differs =
        (now[i] ^ before[i]) |
        (now[i + 1] ^ before[i + 1]) |
        (now[i + 2] ^ before[i + 2]) |
        (now[i + 3] ^ before[i + 3]) |
        (now[i + 4] ^ before[i + 4]) |
        (now[i + 5] ^ before[i + 5]) |
        (now[i + 6] ^ before[i + 6]) |
        (now[i + 7] ^ before[i + 7]);
      if (differs !== 0) this.note(piece, i, i + RUN_WORDS);
    }
    if (runsEnd < length) this.note(piece, runsEnd, length);
  }

  /** Takes over what differs in some words of a piece. */
  private note(piece: number, from: number, to: number): void {
    const { now, before } = this.pieces[piece];
    for (let i = from; i < to; i++) {
      if (now[i] === before[i]) continue;
      if (this.numbers === this.found.length) this.grow();
      this.found[this.numbers++] = (piece << PIECE_SHIFT) | i;
      this.found[this.numbers++] = before[i];
      this.found[this.numbers++] = now[i];
      before[i] = now[i];
    }
  }

  private grow(): void {
    const grown = new Int32Array(this.found.length * 2);
    grown.set(this.found);
    this.found = grown;
  }
}
