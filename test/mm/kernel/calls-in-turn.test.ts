import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import { type Blocking, ready, wait } from "../../../mm/kernel/blocking.ts";
import { CallsInTurn } from "../../../mm/kernel/calls-in-turn.ts";

/** Code that pauses twice, and says what becomes of it. */
function* later(value: number, said: string[]): KernelCode<number> {
  try {
    yield PAUSE_TURN;
    yield PAUSE_TURN;
    return value;
  } catch (failure) {
    said.push(String(failure));
    return -value;
  } finally {
    said.push(`${value} has ended`);
  }
}

/** What is called: every third call waits. */
function called(i: number, said: string[]): Blocking<number> {
  said.push(`call ${i}`);
  return i % 3 === 1 ? later(i, said) : ready(i);
}

/** Adds up what seven calls return. */
class Sum extends CallsInTurn<number> {
  private made = 0;
  private sum = 0;
  private readonly said: string[];

  constructor(said: string[]) {
    super();
    this.said = said;
  }

  protected call(value: unknown): Blocking<unknown> {
    if (this.made > 0) this.sum += value as number;
    return this.made === 7 ? this.over(ready(this.sum)) : called(this.made++, this.said);
  }
}

/** The same, as a generator. */
function* asGenerator(said: string[]): KernelCode<number> {
  let sum = 0;
  for (let i = 0; i < 7; i++) sum += yield* wait(called(i, said));
  return sum;
}

const ways: [string, (code: KernelCode<number>) => unknown][] = [
  ["runs to its end, and is resumed past it", (code) => [1, 2, 3, 4, 5, 6, 7].map(() => code.next())],
  ["is ended before its begin", (code) => [code.return(7), code.next()]],
  ["is ended while a call waits", (code) => [code.next(), code.return(7), code.next()]],
  ["is told of a failure while a call waits", (code) => [code.next(), code.throw("failure"), code.next()]],
  ["is waited for by other code", (code) => [...code]],
];

describe("calls in turn", () => {
  it.each(ways)("do what a generator does that %s", (_, act) => {
    const [inTurn, generated]: [string[], string[]] = [[], []];
    const code = new Sum(inTurn);
    expect(act(code)).toEqual(act(asGenerator(generated)));
    expect(inTurn).toEqual(generated);
    expect(Object.prototype.toString.call(code)).toBe("[object Generator]");
  });

  it("throw what they are told of before their begin, and have ended then", () => {
    const code = new Sum([]);
    expect(() => code.throw(new Error("failure"))).toThrow("failure");
    expect(code.next()).toEqual({ done: true, value: undefined });
  });
});
