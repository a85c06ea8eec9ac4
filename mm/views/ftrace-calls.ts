/**
 * Calls as ftrace prints the kprobes and kretprobes on them, and idle CPUs as its `power:cpu_idle`: beside the events of
 * `ftrace-text.ts` what a replay of the trace needs to make the same calls.
 */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { CallArgument, CallName, CallProbes } from "../kernel/call-probes.ts";
import { CALL_DEFINITIONS, type CallArgumentKind } from "./call-definitions.ts";
import { type FtraceOptions, ftraceLine, IDLE_COMM } from "./ftrace-text.ts";

/** Where the kernel does not say which function it was. */
const UNKNOWN = "0x0";
/** The idle state that is shown: which one does not matter here. */
const IDLE_STATE = 1;
/** `PWR_EVENT_EXIT`: the CPU runs again. */
const IDLE_EXIT = 4294967295;

/** Sees calls and hands each event's line to `write`. */
export function ftraceCalls(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): CallProbes {
  const emit = (event: string, payload: string): void => {
    const comm = loop.currentThread?.name ?? "swapper";
    write(ftraceLine(options, comm, loop.currentCpu, loop.nowCycles(), { event, text: payload }));
  };
  return {
    enter: (call, args) => emit(`${call}_enter`, `(${symbolOf(call)}+0x0/0x0)${formatArguments(call, args)}`),
    exit: (call, result, caller) => {
      const returned = CALL_DEFINITIONS[call].hasResult ? ` addr=${formatPointer(result)}` : "";
      emit(`${call}_exit`, `(${caller ?? UNKNOWN} <- ${symbolOf(call)})${returned}`);
    },
  };
}

/** Hands the lines of each time in which a CPU had nothing to run to `write`, once it is over. */
export function watchIdle(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): void {
  loop.accounts.idleObserver = (cpu, fromCycles, untilCycles) => {
    const emit = (cycles: number, state: number): void => {
      write(ftraceLine(options, IDLE_COMM, cpu, cycles, { event: "cpu_idle", text: `state=${state} cpu_id=${cpu}` }));
    };
    emit(fromCycles, IDLE_STATE);
    emit(untilCycles, IDLE_EXIT);
  };
}

function symbolOf(call: CallName): string {
  return CALL_DEFINITIONS[call].functions[0].symbol;
}

function formatArguments(call: CallName, args: readonly CallArgument[]): string {
  return CALL_DEFINITIONS[call].args.map(({ name, kind }, i) => ` ${name}=${formatArgument(kind, args[i])}`).join("");
}

function formatArgument(kind: CallArgumentKind, value: CallArgument): string {
  if (typeof value === "string") return value;
  if (kind === "address") return formatLinearAddress(value);
  return kind === "hex" ? `0x${value.toString(16)}` : String(value);
}

/** A pointer that may be NULL. */
function formatPointer(value: number): string {
  return value === 0 ? "0x0" : formatLinearAddress(value);
}
