/** The accounts of flushes and of the frees that lead to them, for saved states. */
import { checkState } from "../../arch/isa/state-error.ts";
import { FLUSH_CAUSES, type FlushAccounts, type FlushCause, FlushRecord } from "./flush-accounts.ts";
import type { FreeLedger } from "./free-ledger.ts";

/** Accounts, but for refills, which the machine attributes. */
export interface FlushAccountsState {
  /** Whether refills are attributed, and whether records keep what was taken from each CPU. */
  readonly refills: boolean;
  readonly perCpu: boolean;
  /** Causes and policies that records name by their number in these lists. */
  readonly causes: readonly string[];
  readonly policies: readonly string[];
  /** A row a flush, in the order in which they were made; a flush is known by its row plus one. */
  readonly flushes: FlushRows;
  /** Callers on whose behalf was freed, which frees name by their number in this list. */
  readonly origins: readonly string[];
  /** A row a free, in the order in which they were made. */
  readonly frees: {
    readonly pages: Int32Array;
    readonly start: Float64Array;
    readonly cpu: Uint16Array;
    readonly atCycles: Float64Array;
    /** The flush that it fed; 0 while it waits for one. */
    readonly flush: Int32Array;
    readonly origin: Uint32Array;
  };
}

/** Columns of flushes, as {@link FlushRecord} has them. */
interface FlushRows {
  readonly cause: Uint8Array;
  readonly policy: Uint8Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly full: Uint8Array;
  readonly cpu: Uint16Array;
  readonly atCycles: Float64Array;
  readonly workCycles: Float64Array;
  readonly waitCycles: Float64Array;
  readonly stolenCycles: Float64Array;
  readonly lineCycles: Float64Array;
  readonly stolenFromRunningCycles: Float64Array;
  readonly interrupted: Float64Array;
  readonly deferred: Float64Array;
  readonly freedPages: Float64Array;
  readonly frees: Float64Array;
  /** With `perCpu`, what was taken from each CPU: an element a CPU, flush by flush. */
  readonly stolenFrom: Float64Array;
}

/** Copies accounts. */
export function captureFlushAccounts(accounts: FlushAccounts): FlushAccountsState {
  const { records, frees } = accounts;
  const causes = [...new Set(records.map(({ cause }) => cause))];
  const policies = [...new Set(records.map(({ policy }) => policy))];
  const doubles = (of: (record: FlushRecord) => number) => Float64Array.from(records, of);
  const origins = new Map<string, number>();
  const origin = new Uint32Array(frees.length);
  for (let i = 0; i < frees.length; i++) {
    const name = frees.originOf(i);
    if (!origins.has(name)) origins.set(name, origins.size);
    origin[i] = origins.get(name) ?? 0;
  }
  return {
    refills: accounts.attributions.length > 0,
    perCpu: accounts.perCpu,
    causes,
    policies,
    flushes: {
      cause: Uint8Array.from(records, ({ cause }) => causes.indexOf(cause)),
      policy: Uint8Array.from(records, ({ policy }) => policies.indexOf(policy)),
      start: doubles((record) => record.start),
      end: doubles((record) => record.end),
      full: Uint8Array.from(records, ({ full }) => (full ? 1 : 0)),
      cpu: Uint16Array.from(records, ({ cpu }) => cpu),
      atCycles: doubles((record) => record.atCycles),
      workCycles: doubles((record) => record.workCycles),
      waitCycles: doubles((record) => record.waitCycles),
      stolenCycles: doubles((record) => record.stolenCycles),
      lineCycles: doubles((record) => record.lineCycles),
      stolenFromRunningCycles: doubles((record) => record.stolenFromRunningCycles),
      interrupted: doubles((record) => record.interrupted),
      deferred: doubles((record) => record.deferred),
      freedPages: doubles((record) => record.freedPages),
      frees: doubles((record) => record.frees),
      stolenFrom: joined(records.flatMap(({ stolenFrom }) => stolenFrom ?? [])),
    },
    origins: [...origins.keys()],
    frees: {
      pages: frees.pages.slice(0, frees.length),
      start: frees.start.slice(0, frees.length),
      cpu: Uint16Array.from(frees.cpu.subarray(0, frees.length)),
      atCycles: frees.atCycles.slice(0, frees.length),
      flush: frees.flush.slice(0, frees.length),
      origin,
    },
  };
}

/**
 * Brings accounts in which nothing is yet into a captured state.
 * @throws StateError for a cause or an origin that there is not
 */
export function restoreFlushAccounts(accounts: FlushAccounts, state: FlushAccountsState, cpus: number): void {
  const { flushes, causes, policies } = state;
  const stolen = state.perCpu ? flushes.cause.length * cpus : 0;
  checkState("accounts", flushes.stolenFrom.length === stolen, `are not those of ${cpus} CPUs, flush by flush`);
  for (let row = 0; row < flushes.cause.length; row++) {
    const cause = causes[flushes.cause[row]];
    checkState("accounts", FLUSH_CAUSES.includes(cause as FlushCause), `know no flush for the cause "${cause}"`);
    const record = new FlushRecord(
      row + 1,
      cause as FlushCause,
      policies[flushes.policy[row]],
      flushes.start[row],
      flushes.end[row],
      flushes.full[row] !== 0,
      flushes.cpu[row],
      flushes.atCycles[row],
      state.perCpu ? flushes.stolenFrom.slice(row * cpus, (row + 1) * cpus) : null,
    );
    record.workCycles = flushes.workCycles[row];
    record.waitCycles = flushes.waitCycles[row];
    record.stolenCycles = flushes.stolenCycles[row];
    record.lineCycles = flushes.lineCycles[row];
    record.stolenFromRunningCycles = flushes.stolenFromRunningCycles[row];
    record.interrupted = flushes.interrupted[row];
    record.deferred = flushes.deferred[row];
    record.freedPages = flushes.freedPages[row];
    record.frees = flushes.frees[row];
    accounts.records.push(record);
  }
  restoreFrees(accounts.frees, state);
}

function restoreFrees(ledger: FreeLedger, { frees, origins }: FlushAccountsState): void {
  for (let row = 0; row < frees.pages.length; row++) {
    const origin = origins[frees.origin[row]];
    checkState("accounts", origin !== undefined, `name no origin ${frees.origin[row]}`);
    // Which area a free waits with is said by the areas' own state.
    ledger.add(0, frees.start[row], frees.pages[row], origin, frees.cpu[row], frees.atCycles[row]);
    ledger.flush[row] = frees.flush[row];
  }
  ledger.setWaiting(0, -1);
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const [first] = parts;
  const all = new Float64Array(parts.length * (first?.length ?? 0));
  parts.forEach((part, i) => {
    all.set(part, i * part.length);
  });
  return all;
}
