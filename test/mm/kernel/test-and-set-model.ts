/**
 * A test-and-set lock in the plainest words: everything that happens, in the order of time, on CPUs that do nothing but think, ask for the lock, hold it
 * and give it back. Beside it nothing of the emulator is used: no event loop, no clocks that run ahead.
 */

/** What one CPU does, turn by turn. */
export interface Turn {
  readonly thinksCycles: number;
  readonly holdsCycles: number;
}

/** Who had the lock when. */
export interface Held {
  readonly cpu: number;
  readonly fromCycles: number;
  readonly untilCycles: number;
}

/** What lines and locks cost. */
export interface ModelCosts {
  readonly uncontendedCycles: number;
  /** What a line takes from one CPU to another; 0 to itself. */
  transferCycles(from: number, to: number): number;
}

const NEVER = Number.POSITIVE_INFINITY;

interface Cpu {
  readonly id: number;
  readonly turns: readonly Turn[];
  turn: number;
  doing: "think" | "poll" | "hold";
  /** When it does what it does next. */
  at: number;
  /** When it came to wait: the order of those who are equally near. */
  cameAt: number;
  /** When it sees the word free. */
  sees: number;
  isLate: boolean;
}

/** The whole history of the lock, in order; null when two CPUs act at the same time, of whom either may be first. */
export function modelOf(turnsByCpu: readonly (readonly Turn[])[], costs: ModelCosts): Held[] | null {
  const { transferCycles, uncontendedCycles } = costs;
  const cpus: Cpu[] = turnsByCpu.map((turns, id) => {
    const at = turns.length === 0 ? NEVER : turns[0].thinksCycles;
    return { id, turns, turn: 0, doing: "think", at, cameAt: 0, sees: NEVER, isLate: false };
  });
  const history: Held[] = [];
  /** Who has set the word last, whether it is set, and whose the line is from when on. */
  let last = -1;
  let isSet = false;
  let line = { cpu: -1, until: 0 };

  const fetch = (cpu: Cpu, from: number): number => {
    const begin = Math.max(cpu.at, line.until);
    line = { cpu: cpu.id, until: begin + (from < 0 ? 0 : transferCycles(from, cpu.id)) };
    return line.until;
  };
  const set = (cpu: Cpu): void => {
    const got = fetch(cpu, last);
    for (const other of cpus) {
      if (other === cpu || other.doing !== "poll") continue;
      if (other.sees < got) other.isLate = true;
      other.at = other.isLate ? Math.max(other.at, other.sees === NEVER ? 0 : other.sees) : other.at;
      other.sees = NEVER;
    }
    isSet = true;
    last = cpu.id;
    cpu.doing = "hold";
    cpu.sees = NEVER;
    const from = got + uncontendedCycles;
    cpu.at = from + cpu.turns[cpu.turn].holdsCycles;
    history.push({ cpu: cpu.id, fromCycles: from, untilCycles: cpu.at });
  };
  const giveBack = (cpu: Cpu): void => {
    isSet = false;
    const waiting = cpus.filter(({ doing }) => doing === "poll").sort((a, b) => a.cameAt - b.cameAt);
    for (const each of waiting) {
      const way = transferCycles(cpu.id, each.id);
      const before = waiting.slice(0, waiting.indexOf(each)).filter(({ id }) => transferCycles(cpu.id, id) === way);
      each.sees = cpu.at + way + before.length;
    }
    cpu.doing = "think";
    cpu.turn++;
    cpu.at = cpu.turn < cpu.turns.length ? cpu.at + cpu.turns[cpu.turn].thinksCycles : NEVER;
  };
  /** When something happens to it next: one that polls and is not late does nothing before it sees the word free. */
  const nextAt = (cpu: Cpu): number => (cpu.doing === "poll" && !cpu.isLate ? Math.max(cpu.at, cpu.sees) : cpu.at);

  for (;;) {
    const cpu = cpus.reduce((first, each) => (nextAt(each) < nextAt(first) ? each : first));
    const now = nextAt(cpu);
    if (now === NEVER) return history;
    if (cpus.some((other) => other !== cpu && nextAt(other) === now)) return null;
    cpu.at = now;
    if (cpu.doing === "hold") giveBack(cpu);
    else if (cpu.doing === "poll" && !cpu.isLate) set(cpu);
    else if (cpu.doing === "think" && !isSet) set(cpu);
    else {
      // In vain: at first, or because another was quicker.
      if (cpu.doing === "think") cpu.cameAt = now;
      cpu.doing = "poll";
      cpu.isLate = false;
      cpu.at = fetch(cpu, line.cpu);
    }
  }
}
