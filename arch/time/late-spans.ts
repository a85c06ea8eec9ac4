/**
 * When each CPU took no interrupts (`off-spans.ts`), of all CPUs. What a CPU did is put later many times between two of its turns, and hardly ever
 * does an interrupt arrive in that time: so each is only written down, one that begins as the last did with it, and put into the spans where
 * somebody asks or when there is no more room. In pairs of vmalloc and vfree on 1024 CPUs that happens 17 times a pair, three quarters of
 * them to CPUs far ahead of the others, which have 17 spans each; 12 begin as the one before.
 */
import { OffSpans } from "./off-spans.ts";

/** log2 of the numbers of a CPU. */
const CPU_SHIFT = 6;
/** Of a CPU: in which run its spans were. */
const RUN = 0;
/** Times at which it was put later since its spans were worked out. */
const LATER = 1;
/** Each of these, and by how much in all. */
const FIRST_LATER = 2;
const LATER_MAX = ((1 << CPU_SHIFT) - FIRST_LATER) / 2;

/** Spans of all CPUs. */
export class LateSpans {
  private readonly numbers: Float64Array;
  /** By CPU; null where there never was one. */
  private readonly spans: (OffSpans | null)[];
  /** By CPU: 1 where there may be spans. */
  private readonly hasSpans: Uint8Array;

  constructor(cpus: number) {
    this.numbers = new Float64Array(cpus << CPU_SHIFT);
    this.spans = new Array<OffSpans | null>(cpus).fill(null);
    this.hasSpans = new Uint8Array(cpus);
  }

  /** What `cpu` did after `fromCycles` was `cycles` later: `OffSpans.insert`. @param run spans of earlier ones are forgotten */
  insert(cpu: number, fromCycles: number, cycles: number, run: number): void {
    const { numbers } = this;
    const at = cpu << CPU_SHIFT;
    if (numbers[at | RUN] !== run) this.beginRun(cpu, run);
    let later = at + 2 * numbers[at | LATER];
    if (later > at && numbers[later] === fromCycles) {
      numbers[later + 1] += cycles;
      return;
    }
    if (numbers[at | LATER] === LATER_MAX) {
      this.workOut(cpu);
      later = at;
    }
    numbers[at | LATER]++;
    numbers[later + FIRST_LATER] = fromCycles;
    numbers[later + FIRST_LATER + 1] = cycles;
  }

  /** What `cpu` did in a part of its time took longer: `OffSpans.stretch`. */
  stretch(cpu: number, fromCycles: number, untilCycles: number, cycles: number, run: number): void {
    if (this.numbers[(cpu << CPU_SHIFT) | RUN] === run && this.hasAny(cpu))
      this.workOut(cpu).stretch(fromCycles, untilCycles, cycles);
  }

  /** The spans of a CPU in a run. */
  of(cpu: number, run: number): OffSpans {
    if (this.numbers[(cpu << CPU_SHIFT) | RUN] !== run) this.beginRun(cpu, run);
    return this.workOut(cpu);
  }

  /** Nothing is asked of times of `cpu` before `atCycles` any more. @param clockCycles its clock: no span ends after it */
  forgetBefore(cpu: number, atCycles: number, clockCycles: number): void {
    if (atCycles >= clockCycles) this.forget(cpu);
    else if (this.hasAny(cpu)) this.workOut(cpu).forgetBefore(atCycles);
  }

  private hasAny(cpu: number): boolean {
    return this.hasSpans[cpu] !== 0 || this.numbers[(cpu << CPU_SHIFT) | LATER] > 0;
  }

  private beginRun(cpu: number, run: number): void {
    this.numbers[(cpu << CPU_SHIFT) | RUN] = run;
    this.forget(cpu);
  }

  private forget(cpu: number): void {
    this.numbers[(cpu << CPU_SHIFT) | LATER] = 0;
    if (this.hasSpans[cpu] === 0) return;
    this.hasSpans[cpu] = 0;
    this.spans[cpu]?.clear();
  }

  /** The spans of a CPU with all that was written down. */
  private workOut(cpu: number): OffSpans {
    const { numbers } = this;
    let spans = this.spans[cpu];
    if (spans === null) {
      spans = new OffSpans();
      this.spans[cpu] = spans;
    }
    this.hasSpans[cpu] = 1;
    const at = cpu << CPU_SHIFT;
    const first = at + FIRST_LATER;
    const end = first + 2 * numbers[at | LATER];
    for (let later = first; later < end; later += 2) spans.insert(numbers[later], numbers[later + 1]);
    numbers[at | LATER] = 0;
    return spans;
  }
}
