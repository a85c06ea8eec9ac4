/** Which call of vmalloc, of a flush or of a change of address space a span of a timeline belongs to, with its arguments. */
import { formatLinearAddress } from "../../arch/index.ts";
import { CALL_DEFINITIONS, type CallArgument, type CallName, type CallProbes } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";

/** A call as a viewer shows it: its name, its arguments, and once it is over what it returned and who made it. */
export type SpanCall = Record<string, string | number>;

/** Follows the calls of each thread of a kernel; what has watched the calls before still sees them. */
export class SpanCalls implements CallProbes {
  private readonly kernel: Kernel;
  private readonly before: CallProbes | null;
  private readonly onCall: (call: SpanCall) => void;
  /** Calls that have begun, the outer ones first, by the thread that made them; by nobody's for those from outside of all threads. */
  private readonly open = new WeakMap<object, SpanCall[]>();
  private readonly outside = {};

  /** @param onCall told of each call as it begins, on the current CPU */
  constructor(kernel: Kernel, onCall: (call: SpanCall) => void) {
    this.kernel = kernel;
    this.before = kernel.vm.probes;
    this.onCall = onCall;
    kernel.vm.setProbes(this);
  }

  /** The innermost call that the current thread is in; null outside of calls. */
  get current(): SpanCall | null {
    return this.openCalls().at(-1) ?? null;
  }

  enter(call: CallName, args: readonly CallArgument[]): void {
    this.before?.enter(call, args);
    const shown: SpanCall = { call };
    for (const [i, { name, kind }] of CALL_DEFINITIONS[call].args.entries()) {
      const { [i]: value } = args;
      if (kind === "address" && typeof value === "number") shown[name] = formatLinearAddress(value);
      else shown[name] = kind === "hex" && typeof value === "number" ? `0x${value.toString(16)}` : value;
    }
    this.openCalls().push(shown);
    this.onCall(shown);
  }

  exit(call: CallName, result: number, caller?: string): void {
    this.before?.exit(call, result, caller);
    const shown = this.openCalls().pop();
    if (shown === undefined) return;
    if (CALL_DEFINITIONS[call].hasResult) shown.address = result === 0 ? "0x0" : formatLinearAddress(result);
    if (caller !== undefined) shown.caller = caller;
  }

  /** Looks no longer. */
  close(): void {
    this.kernel.vm.setProbes(this.before);
  }

  private openCalls(): SpanCall[] {
    const thread = this.kernel.machine.loop.currentThread ?? this.outside;
    let calls = this.open.get(thread);
    if (calls === undefined) {
      calls = [];
      this.open.set(thread, calls);
    }
    return calls;
  }
}
