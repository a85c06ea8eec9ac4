/** The whole state of a kernel as plain data, put together from the states of its parts. */
import { captureMachine, type MachineState, restoreMachine } from "../../arch/index.ts";
import { checkState } from "../../arch/isa/state-error.ts";
import {
  captureKernelMm,
  captureUserSpaces,
  captureVmalloc,
  type KernelMmState,
  makeUserSpaces,
  queueVmallocWork,
  restoreKernelMm,
  restoreUserSpaces,
  restoreVmallocState,
  type UserSpacesState,
  type VmallocState,
  vmallocWorkOf,
} from "../../mm/index.ts";
import { captureHost, type HostState, restoreHost, restoreOwed } from "../guests/host-state.ts";
import type { Kernel } from "../machine/kernel.ts";

/** A kernel, by subject. Typed arrays and plain objects only. */
export interface KernelState {
  /** The CPU on which calls from outside run. */
  readonly currentCpu: number;
  readonly machine: MachineState;
  readonly mm: KernelMmState;
  readonly vmalloc: VmallocState;
  /** User address spaces; null when none was ever made. */
  readonly user: UserSpacesState | null;
  /** The host below; null where the kernel is no guest. */
  readonly host: HostState | null;
}

/**
 * Copies the state of a kernel. Observers are no part of it.
 * @throws StateError when something is under way that has no form outside the program
 */
export function captureKernel({ machine, mm, vm, host, currentCpu }: Kernel): KernelState {
  return {
    currentCpu,
    machine: captureMachine(
      machine,
      (thread) => vmallocWorkOf(vm, thread),
      (handler) => handler === host?.unmapping?.scanHandler,
    ),
    mm: captureKernelMm(mm),
    vmalloc: captureVmalloc(vm),
    user: captureUserSpaces(mm),
    host: host === null ? null : captureHost(host),
  };
}

/**
 * Brings a kernel that was just booted with the same configuration into a captured state.
 * @throws StateError when the state is that of another kernel; the kernel is not usable then
 */
export function restoreKernel(kernel: Kernel, state: KernelState): void {
  const { machine, mm, vm, host } = kernel;
  checkState("kernel", (host === null) === (state.host === null), host === null ? "is no guest" : "is a guest");
  // Before the event loop, which asks the scheduler of vCPUs.
  if (host !== null && state.host !== null) restoreHost(host, state.host);
  const user = state.user === null ? null : makeUserSpaces(mm, state.user);
  restoreMachine(machine, state.machine, (work, cpu) => queueVmallocWork(vm, work, cpu));
  restoreKernelMm(mm, state.mm);
  if (host !== null && state.host !== null) restoreOwed(host, state.host, mm.flushing.accounts);
  restoreVmallocState(vm, state.vmalloc);
  if (user !== null && state.user !== null) restoreUserSpaces(user, state.user);
  kernel.currentCpu = state.currentCpu;
}
