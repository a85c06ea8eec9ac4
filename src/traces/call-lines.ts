/** The payloads of probed calls, as ftrace prints kprobes and kretprobes: `vfree_enter: (vfree+0x0/0x90) addr=0xffffc90000005000`. */
import { CALL_DEFINITIONS, type CallName } from "../../mm/index.ts";

/** A call begins. */
export interface CallEnter {
  readonly event: "enter";
  readonly call: CallName;
  /** By name; what the tracer could not read is absent. Numbers of 32 bits and more are whole, addresses 64-bit. */
  readonly args: ReadonlyMap<string, bigint>;
  /** The argument that names who is charged for an area; empty where there is none. */
  readonly caller: string;
}

/** A call ends. */
export interface CallExit {
  readonly event: "exit";
  readonly call: CallName;
  /** The address that it returned; 0 for none. */
  readonly result: bigint;
  /** The function that made the call, such as `free_thread_stack+0x4e/0x80`; empty where the tracer does not say. */
  readonly from: string;
}

/** `(vfree+0x0/0x90)`, or `(free_thread_stack+0x4e/0x80 <- vfree)`, then the values. */
const PAYLOAD = /^\(([^<)]*?)(?: <- [^)]*)?\) ?(.*)$/;
const EVENT = /^(\w+?)_(enter|exit)$/;
const VALUE = /^(-?)(0x[0-9a-f]+|\d+)$/;
/** A symbol that the kernel prints as a bare number names nobody. */
const NOBODY = /^0x[0-9a-f]+$/;

/** Reads the payload of the event `name`; null for an event of another name, or a payload of another form. */
export function parseCallEvent(name: string, payload: string): CallEnter | CallExit | null {
  const event = EVENT.exec(name);
  if (event === null || !Object.hasOwn(CALL_DEFINITIONS, event[1])) return null;
  const match = PAYLOAD.exec(payload);
  if (match === null) return null;
  const call = event[1] as CallName;
  const [, where, values] = match;
  const args = new Map<string, bigint>();
  let caller = "";
  for (const word of values.split(" ")) {
    const [key, text = ""] = word.split("=", 2);
    if (key === "caller") caller = nameOf(text);
    const value = VALUE.exec(text);
    if (value !== null) args.set(key, value[1] === "-" ? -BigInt(value[2]) : BigInt(value[2]));
  }
  if (event[2] === "enter") return { event: "enter", call, args, caller };
  return { event: "exit", call, result: args.get("addr") ?? 0n, from: nameOf(where) };
}

function nameOf(text: string): string {
  return NOBODY.test(text) ? "" : text;
}
