/**
 * Flushing by Intel's remote actions (`arch/x86/mm/rar.c` of the series "Intel RAR TLB invalidation" by Yu and van Riel, LKML 2025,
 * which Linux has not taken): the sender writes a payload, marks it pending in each target's action vector, and signals the targets through the
 * APIC; their microcode flushes, with interrupts on or off, and clears the marks, which the sender polls. Lines that move: to the
 * sender the payload and each target's action vector; to a target both; back to the sender the action vector.
 */

import { RAR_INVPCID, RAR_PAGES_MAX, RAR_SUBTYPES, writeRarPayload } from "../../arch/cpu/rar-payload.ts";
import {
  MSR_RAR_ACT_VEC,
  MSR_RAR_CTRL,
  MSR_RAR_PAYLOAD_BASE,
  RAR_CTRL_ENABLE,
  RAR_CTRL_IGNORE_IF,
  RAR_PAYLOAD_BYTES,
  RAR_PAYLOADS,
  RAR_PENDING,
} from "../../arch/cpu/remote-actions.ts";
import { linearAddressToBigInt, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { Machine } from "../../arch/machine.ts";
import { ACTIVITY_IPI_SEND, ACTIVITY_IPI_WAIT } from "../../arch/time/cycle-accounts.ts";
import { INTERRUPTED_IDLE, type KernelCode, PAUSE_SPIN, PAUSE_TURN, type Thread } from "../../arch/time/event-loop.ts";
import { FRAME_CALLER } from "../frames/frame-uses.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import type { IpiCosts, KernelCosts } from "../kernel/kernel-costs.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { type Acknowledgements, type Smp, seenByCycles } from "../kernel/smp.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import { __GFP_ZERO, GFP_KERNEL } from "../lib/gfp.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import type { FlushAccounts, FlushRecord } from "./flush-accounts.ts";

/** Bytes of an action vector. */
const ACTION_BYTES = RAR_PAYLOADS;
const ACTIONS_IN_FRAME = PAGE_SIZE / ACTION_BYTES;

/** What is to be flushed on other CPUs. */
export interface RarFlush {
  /** The PCID concerned; 0 for everything of every PCID, global translations included. */
  readonly pcid: number;
  /** [start, end), page-aligned; not looked at when `full`. */
  readonly start: number;
  readonly end: number;
  /** All of the PCID. */
  readonly full: boolean;
  /** Where the costs are booked; null when nobody keeps accounts. */
  readonly record: FlushRecord | null;
}

/** A payload that CPUs have yet to carry out. */
interface Call extends Acknowledgements {
  readonly sender: Thread;
  readonly record: FlushRecord | null;
  outstanding: number;
}

/** The tables of remote actions, and calls under way. */
export class Rar {
  /** One a payload (`rar_locks`): a few CPUs share each. */
  readonly locks: readonly SpinLock[];
  /** Accounts of flushes, once somebody keeps them. */
  accounts: FlushAccounts | null = null;
  /** Frames that the tables take, for good. */
  readonly frames: number;
  private readonly machine: Machine;
  private readonly smp: Smp;
  private readonly costs: IpiCosts;
  /** Physical address of the payload table (`rar_payload`). */
  private readonly payloads: number;
  /** Physical addresses of the action vectors, by CPU (`rar_action`). */
  private readonly actions: Float64Array;
  private readonly payloadLines: number;
  private readonly actionLines: number;
  private readonly calls: (Call | null)[] = new Array<Call | null>(RAR_PAYLOADS).fill(null);
  /** 1 for a CPU to which a signal is under way: a further one is merged with it. */
  private readonly signalled: Uint8Array;

  /**
   * Makes the tables and turns remote actions on, on every CPU (`rar_boot_cpu_init`, `rar_cpu_init`).
   * @throws NotEnoughMemory when there is no room for the tables
   */
  constructor(machine: Machine, pages: PageAllocator, smp: Smp, { ipi, lock }: KernelCosts) {
    const { cpus, loop } = machine;
    this.machine = machine;
    this.smp = smp;
    this.costs = ipi;
    this.locks = Array.from({ length: RAR_PAYLOADS }, () => newSpinLock("rar_lock", loop, lock));
    const frame = (): number => {
      const got = pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL | __GFP_ZERO);
      if (got === 0) throw new NotEnoughMemory("no memory for the tables of remote actions");
      return got;
    };
    this.payloads = frame() * PAGE_SIZE;
    this.actions = new Float64Array(cpus.length);
    let actionFrame = 0;
    this.frames = 1 + Math.ceil(cpus.length / ACTIONS_IN_FRAME);
    for (const { id } of cpus) {
      if (id % ACTIONS_IN_FRAME === 0) actionFrame = frame();
      this.actions[id] = actionFrame * PAGE_SIZE + (id % ACTIONS_IN_FRAME) * ACTION_BYTES;
    }
    this.payloadLines = loop.lines.make(RAR_PAYLOADS);
    this.actionLines = loop.lines.make(cpus.length);
    this.signalled = new Uint8Array(cpus.length);
    for (const cpu of cpus) {
      cpu.wrmsr(MSR_RAR_ACT_VEC, this.actions[cpu.id]);
      cpu.wrmsr(MSR_RAR_PAYLOAD_BASE, this.payloads);
      cpu.wrmsr(MSR_RAR_CTRL, RAR_CTRL_ENABLE + RAR_CTRL_IGNORE_IF);
    }
  }

  /**
   * Has the CPUs `mask` (ascending) but the current one flush, and waits until they have (`smp_call_rar_many`). As in version 3 of
   * the series the current CPU is left out, and flushes by itself.
   */
  *smpCallRarMany(mask: readonly number[], flush: RarFlush): KernelCode<void> {
    const { loop } = this.machine;
    while (loop.mustYield()) yield PAUSE_TURN;
    const self = loop.currentCpu;
    const targets = mask.filter((cpu) => cpu !== self);
    if (targets.length === 0) return;
    // `get_payload_slot`, by the CPU's number, as in version 4.
    const slot = self % RAR_PAYLOADS;
    const { [slot]: lock } = this.locks;
    if (!lock.tryTake()) yield* lock.take();
    const call = this.send(slot, targets, flush);
    const { record } = flush;
    call.waitsSinceCycles = loop.nowCycles();
    const waited = loop.accounts.cycles(self, ACTIVITY_IPI_WAIT);
    const activity = loop.enterActivity(ACTIVITY_IPI_WAIT);
    if (call.outstanding > 0) yield PAUSE_SPIN;
    loop.enterActivity(activity);
    if (record !== null) record.waitCycles += loop.accounts.cycles(self, ACTIVITY_IPI_WAIT) - waited;
    this.calls[slot] = null;
    lock.release();
  }

  private send(slot: number, targets: readonly number[], flush: RarFlush): Call {
    const { loop, memory } = this.machine;
    const { record } = flush;
    const self = loop.currentCpu;
    const sender = loop.currentThread;
    if (sender === null) throw new Error("other CPUs were asked for remote actions from outside any thread");
    const began = loop.lines.ownCycles(self);
    const lined = loop.lines.waitedCycles[self];
    const activity = loop.enterActivity(ACTIVITY_IPI_SEND);
    const ackAtCycles = new Float64Array(targets.length);
    const call = {
      sender,
      senderCpu: self,
      targets,
      ackAtCycles,
      waitsSinceCycles: 0,
      record,
      outstanding: targets.length,
    };
    this.calls[slot] = call;
    loop.lines.write(this.payloadLines + slot);
    this.setPayload(slot, flush);
    for (const cpu of targets) {
      // `set_action_entry`
      loop.lines.write(this.actionLines + cpu);
      const at = this.actions[cpu] + slot;
      memory.writeByte(Math.floor(at / PAGE_SIZE), at % PAGE_SIZE, RAR_PENDING);
    }
    loop.point("smp_call_rar_many: action vectors are set");
    this.smp.writeIcr(targets, (cpu, atCycles) => {
      if (this.signalled[cpu] !== 0) return;
      this.signalled[cpu] = 1;
      const latencyCycles = this.costs.latencyCycles[loop.topology.distance(self, cpu)];
      const isMaskable = !this.machine.cpus[cpu].remoteActions.ignoresInterruptFlag;
      loop.sendInterrupt(cpu, atCycles, latencyCycles, this.taken, isMaskable);
    });
    loop.enterActivity(activity);
    if (record !== null) {
      record.workCycles += loop.lines.ownCycles(self) - began;
      record.lineCycles += loop.lines.waitedCycles[self] - lined;
    }
    return call;
  }

  /** `set_payload`. The range is one page longer than asked for, as the series computes it. */
  private setPayload(slot: number, { pcid, start, end, full }: RarFlush): void {
    const pages = full ? RAR_PAGES_MAX : Math.floor((end - start + PAGE_SIZE) / PAGE_SIZE);
    const isRange = pcid !== 0 && pages < RAR_PAGES_MAX;
    // Pages one by one would leave global translations, so that kernel addresses are always flushed with everything.
    const whole = pcid === 0 ? RAR_SUBTYPES.all : RAR_SUBTYPES.onePcid;
    writeRarPayload(this.machine.memory, this.payloads + slot * RAR_PAYLOAD_BYTES, {
      type: RAR_INVPCID,
      subtype: isRange ? RAR_SUBTYPES.addresses : whole,
      cr3: BigInt(pcid),
      la: isRange ? linearAddressToBigInt(start) : 0n,
      pages: isRange ? pages : 0,
      pageBytes: PAGE_SIZE,
    });
  }

  /** A CPU takes a signal: its microcode acts. */
  private readonly taken = (cpu: number): void => {
    const { loop, cpus } = this.machine;
    const { lines } = loop;
    const found = loop.stateOf(cpu);
    this.signalled[cpu] = 0;
    let began = lines.ownCycles(cpu);
    let lined = lines.waitedCycles[cpu];
    if (found === INTERRUPTED_IDLE) this.smp.wakeUp(cpu);
    cpus[cpu].remoteActions.take((slot, act) => {
      lines.write(this.actionLines + cpu);
      lines.read(this.payloadLines + slot);
      const call = this.calls[slot];
      const record = call?.record ?? null;
      if (record === null || this.accounts === null) act();
      else this.accounts.attributed(record, cpu, act);
      if (record !== null) {
        record.actedRemotely(cpu, lines.ownCycles(cpu) - began, found);
        record.lineCycles += lines.waitedCycles[cpu] - lined;
      }
      began = lines.ownCycles(cpu);
      lined = lines.waitedCycles[cpu];
      if (call !== null) this.done(call, cpu);
    });
  };

  /** A target has cleared its mark; the last one lets the sender go on (`wait_for_action_done`). */
  private done(call: Call, cpu: number): void {
    const { loop } = this.machine;
    call.ackAtCycles[call.targets.indexOf(cpu)] = loop.nowCycles();
    if (--call.outstanding === 0) loop.wake(call.sender, seenByCycles(loop, call));
  }
}
