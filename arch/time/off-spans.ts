/**
 * When a CPU took no interrupts: spans of time of which no two overlap, ascending. Code between two pauses is emulated in one go, so that spans
 * are said after the CPU has gone through them, a span within another before that other; and what a CPU did may turn out to have been later.
 */

/** Spans that there is room for at first. */
const FIRST_SPANS = 2;
/** log2 of the numbers of a span. */
const SPAN_SHIFT = 2;
/** Of a span: when it begins. */
const BEGIN = 0;
/** When it ends. */
const END = 1;
/** 1 if the moment of its begin belongs to it. In critical sections it does not: between two in a row an interrupt is taken. */
const INCLUDES_BEGIN = 2;

/** Those of one CPU. Only what may still be asked for is kept. */
export class OffSpans {
  private spans = new Float64Array(FIRST_SPANS << SPAN_SHIFT);
  private count = 0;

  /** Spans that are kept. */
  get length(): number {
    return this.count;
  }

  /** Forgets all. */
  clear(): void {
    this.count = 0;
  }

  /** Nothing is asked of times before `atCycles` any more. */
  forgetBefore(atCycles: number): void {
    const { spans, count } = this;
    let before = 0;
    while (before < count && spans[(before << SPAN_SHIFT) | END] <= atCycles) before++;
    if (before === 0) return;
    if (before < count) spans.copyWithin(0, before << SPAN_SHIFT, count << SPAN_SHIFT);
    this.count -= before;
  }

  /** Adds a span that ends after all that there are, some of which may lie in it. */
  add(beginCycles: number, endCycles: number, includesBegin: boolean): void {
    const { spans } = this;
    let last = this.count - 1;
    let isIncluded = includesBegin;
    for (; last >= 0 && spans[(last << SPAN_SHIFT) | BEGIN] >= beginCycles; last--) {
      const span = last << SPAN_SHIFT;
      if (spans[span | BEGIN] === beginCycles && spans[span | INCLUDES_BEGIN] === 1) isIncluded = true;
    }
    this.count = last + 1;
    if (last >= 0 && this.follows(last, beginCycles, isIncluded)) spans[(last << SPAN_SHIFT) | END] = endCycles;
    else this.put(last + 1, beginCycles, endCycles, isIncluded);
  }

  /** All after `fromCycles` was `cycles` later, and so is the end of a span around that time: until then no interrupt was taken. */
  insert(fromCycles: number, cycles: number): void {
    const { spans, count } = this;
    let at = count;
    while (at > 0 && spans[((at - 1) << SPAN_SHIFT) | BEGIN] >= fromCycles) {
      at--;
      spans[(at << SPAN_SHIFT) | BEGIN] += cycles;
      spans[(at << SPAN_SHIFT) | END] += cycles;
    }
    const until = fromCycles + cycles;
    const span = at << SPAN_SHIFT;
    if (at > 0 && this.follows(at - 1, fromCycles, true)) {
      spans[((at - 1) << SPAN_SHIFT) | END] += cycles;
    } else if (at < count && spans[span | BEGIN] === until && spans[span | INCLUDES_BEGIN] === 1) {
      spans[span | BEGIN] = fromCycles;
    } else {
      this.put(at, fromCycles, until, true);
    }
  }

  /** What was done from `fromCycles` until `untilCycles` took `cycles` more, spread evenly over it, and all after that was as much later. */
  stretch(fromCycles: number, untilCycles: number, cycles: number): void {
    const { spans, count } = this;
    for (let i = 0; i < count; i++) {
      const span = i << SPAN_SHIFT;
      spans[span | BEGIN] = stretched(spans[span | BEGIN], fromCycles, untilCycles, cycles);
      spans[span | END] = stretched(spans[span | END], fromCycles, untilCycles, cycles);
    }
  }

  /** When an interrupt that arrives at `atCycles` is taken: then, or at the end of the span in which it does. */
  takenAt(atCycles: number): number {
    const { spans, count } = this;
    let at = atCycles;
    for (let i = 0; i < count && spans[(i << SPAN_SHIFT) | BEGIN] <= at; i++) {
      const span = i << SPAN_SHIFT;
      const isWithin = at < spans[span | END] && (spans[span | INCLUDES_BEGIN] === 1 || at > spans[span | BEGIN]);
      if (isWithin) at = spans[span | END];
    }
    return at;
  }

  /** Puts a span at a place; those from there on move up. */
  private put(at: number, beginCycles: number, endCycles: number, includesBegin: boolean): void {
    const end = this.count++ << SPAN_SHIFT;
    if (end === this.spans.length) {
      const larger = new Float64Array(2 * end);
      larger.set(this.spans);
      this.spans = larger;
    }
    const { spans } = this;
    const span = at << SPAN_SHIFT;
    if (span < end) spans.copyWithin(span + (1 << SPAN_SHIFT), span, end);
    spans[span | BEGIN] = beginCycles;
    spans[span | END] = endCycles;
    spans[span | INCLUDES_BEGIN] = includesBegin ? 1 : 0;
  }

  /** Whether a time is within the span at a place, or right behind it without a moment for an interrupt in between. */
  private follows(at: number, beginCycles: number, includesBegin: boolean): boolean {
    const endCycles = this.spans[(at << SPAN_SHIFT) | END];
    return endCycles > beginCycles || (endCycles === beginCycles && includesBegin);
  }
}

/** What a time becomes when `cycles` are spread over those from `fromCycles` until `untilCycles`; where both are one, all come right after it. */
export function stretched(atCycles: number, fromCycles: number, untilCycles: number, cycles: number): number {
  if (atCycles <= fromCycles) return atCycles;
  if (atCycles >= untilCycles) return atCycles + cycles;
  return atCycles + Math.round((cycles * (atCycles - fromCycles)) / (untilCycles - fromCycles));
}
