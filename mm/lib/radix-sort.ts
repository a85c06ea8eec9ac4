/** A radix sort of numbers by 32-bit keys, whose arrays stay between uses: V8 collected garbage for those of each purge. */
import { roundUpToPowerOfTwo } from "../../arch/isa/power-of-two.ts";

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;
const COUNT_MIN = 1024;

/** The numbers to sort and their keys go into `numbers` and `keys`, after `reserve`. */
export class RadixSort {
  numbers = new Int32Array(COUNT_MIN);
  keys = new Uint32Array(COUNT_MIN);
  private sortedNumbers = new Int32Array(COUNT_MIN);
  private sortedKeys = new Uint32Array(COUNT_MIN);
  private readonly places = new Int32Array(DIGITS);

  /** Makes room for `count` numbers; what was in the arrays is lost. */
  reserve(count: number): void {
    if (count <= this.numbers.length) return;
    const capacity = roundUpToPowerOfTwo(count);
    this.numbers = new Int32Array(capacity);
    this.keys = new Uint32Array(capacity);
    this.sortedNumbers = new Int32Array(capacity);
    this.sortedKeys = new Uint32Array(capacity);
  }

  /** Sorts the first `count` numbers by their keys, of which `highest` is the highest; equal ones stay in their order. */
  sort(count: number, highest: number): void {
    for (let shift = 0; shift < 32 && highest >>> shift !== 0; shift += DIGIT_BITS) this.sortByDigit(count, shift);
  }

  private sortByDigit(count: number, shift: number): void {
    const { numbers, keys, sortedNumbers, sortedKeys, places } = this;
    places.fill(0);
    for (let i = 0; i < count; i++) places[(keys[i] >>> shift) & (DIGITS - 1)]++;
    let place = 0;
    for (let digit = 0; digit < DIGITS; digit++) {
      const among = places[digit];
      places[digit] = place;
      place += among;
    }
    for (let i = 0; i < count; i++) {
      const at = places[(keys[i] >>> shift) & (DIGITS - 1)]++;
      sortedNumbers[at] = numbers[i];
      sortedKeys[at] = keys[i];
    }
    this.numbers = sortedNumbers;
    this.keys = sortedKeys;
    this.sortedNumbers = numbers;
    this.sortedKeys = keys;
  }
}
