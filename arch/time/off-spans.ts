/**
 * When a CPU took no interrupts: spans of time of which no two overlap, ascending. Code between two pauses is emulated in one go, so that spans
 * are said after the CPU has gone through them, a span within another before that other; and what a CPU did may turn out to have been later.
 */

interface OffSpan {
  beginCycles: number;
  endCycles: number;
  /** Whether the moment of its begin belongs to it. In critical sections it does not: between two in a row an interrupt is taken. */
  includesBegin: boolean;
}

/** Those of one CPU. Only what may still be asked for is kept. */
export class OffSpans {
  private readonly spans: OffSpan[] = [];

  /** Spans that are kept. */
  get length(): number {
    return this.spans.length;
  }

  /** Forgets all. */
  clear(): void {
    this.spans.length = 0;
  }

  /** Nothing is asked of times before `atCycles` any more. */
  forgetBefore(atCycles: number): void {
    const { spans } = this;
    let before = 0;
    while (before < spans.length && spans[before].endCycles <= atCycles) before++;
    if (before > 0) spans.splice(0, before);
  }

  /** Adds a span that ends after all that there are, some of which may lie in it. */
  add(beginCycles: number, endCycles: number, includesBegin: boolean): void {
    const { spans } = this;
    let last = spans.length - 1;
    let isIncluded = includesBegin;
    for (; last >= 0 && spans[last].beginCycles >= beginCycles; last--) {
      if (spans[last].beginCycles === beginCycles && spans[last].includesBegin) isIncluded = true;
    }
    spans.length = last + 1;
    if (last >= 0 && follows(spans[last], beginCycles, isIncluded)) {
      spans[last].endCycles = endCycles;
    } else {
      spans.push({ beginCycles, endCycles, includesBegin: isIncluded });
    }
  }

  /** All after `fromCycles` was `cycles` later, and so is the end of a span around that time: until then no interrupt was taken. */
  insert(fromCycles: number, cycles: number): void {
    const { spans } = this;
    let at = spans.length;
    while (at > 0 && spans[at - 1].beginCycles >= fromCycles) {
      at--;
      spans[at].beginCycles += cycles;
      spans[at].endCycles += cycles;
    }
    const until = fromCycles + cycles;
    const isBefore = at < spans.length && spans[at].beginCycles === until && spans[at].includesBegin;
    const isAfter = at > 0 && follows(spans[at - 1], fromCycles, true);
    if (isAfter) {
      spans[at - 1].endCycles += cycles;
    } else if (isBefore) {
      spans[at].beginCycles = fromCycles;
    } else {
      spans.splice(at, 0, { beginCycles: fromCycles, endCycles: until, includesBegin: true });
    }
  }

  /** When an interrupt that arrives at `atCycles` is taken: then, or at the end of the span in which it does. */
  takenAt(atCycles: number): number {
    const { spans } = this;
    let at = atCycles;
    for (let i = 0; i < spans.length && spans[i].beginCycles <= at; i++) {
      const { beginCycles, endCycles, includesBegin } = spans[i];
      if (at < endCycles && (includesBegin || at > beginCycles)) at = endCycles;
    }
    return at;
  }
}

/** Whether a time is within a span, or right behind it without a moment for an interrupt in between. */
function follows(span: OffSpan, beginCycles: number, includesBegin: boolean): boolean {
  return span.endCycles > beginCycles || (span.endCycles === beginCycles && includesBegin);
}
