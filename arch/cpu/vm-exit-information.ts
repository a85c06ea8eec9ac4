/** What the hypervisor is told of an access that the second stage refused: the fields of a VM exit, from what the walk noted. */

import { ACCESS_FETCH, ACCESS_IS_SHADOW_STACK, ACCESS_WRITES, type Access } from "../isa/access.ts";
import * as ept from "../isa/ept.ts";
import { PF_FETCH, PF_PRESENT, PF_RESERVED, PF_USER, PF_WRITE } from "../isa/faults.ts";
import { TR_RW, TR_USER, TR_XD } from "../isa/translation.ts";
import {
  EptMisconfiguration,
  EptViolation,
  NestedPageFault,
  NPF_FINAL,
  NPF_GUEST_TABLES,
  type VmExit,
} from "../isa/vm-exits.ts";
import type { GuestWalker } from "../walk/guest-walk.ts";
import * as second from "../walk/second-stage.ts";
import type { CpuParts } from "./cpu-parts.ts";

/**
 * The VM exit of a walk that ended with one.
 * @param offset where in its page the access is
 * @param linear the linear address, as programs see it
 */
export function exitOf(
  walker: GuestWalker,
  access: Access,
  offset: number,
  linear: number | bigint,
  cpu: number,
  { preset }: Pick<CpuParts, "preset">,
): VmExit {
  const { exitFrame, exitIndex, exitIsFinal } = walker;
  const address = exitFrame * 4096 + (exitIsFinal ? offset : exitIndex * 8);
  if (preset.vendor === "amd") return new NestedPageFault(exitInfo1Of(walker, access), address, cpu);
  if (walker.exit === second.SECOND_RESERVED) return new EptMisconfiguration(address, cpu);
  const qualification = qualificationOf(walker, access, preset.virtualization.features.advancedExits);
  return new EptViolation(qualification, address, linear, cpu);
}

/** The exit qualification of an EPT violation (Intel SDM vol. 3C, table 28-7). */
function qualificationOf(walker: GuestWalker, access: Access, isAdvanced: boolean): number {
  const { exitIsFinal, exitNeed, guestFlags, stage } = walker;
  const { rights, format } = stage as second.SecondStage;
  const isUserFetchable = format.modeBased && (rights & second.SECOND_FETCH_USER) !== 0;
  let qualification =
    ((rights & (second.SECOND_READ | second.SECOND_WRITE | second.SECOND_FETCH)) << 3) |
    (isUserFetchable ? ept.EPT_VIOLATION_USER_EXECUTABLE : 0) |
    ept.EPT_VIOLATION_LINEAR_VALID;
  if (!exitIsFinal) return qualification | (exitNeed & (ept.EPT_VIOLATION_READ | ept.EPT_VIOLATION_WRITE));
  qualification |=
    access === ACCESS_FETCH
      ? ept.EPT_VIOLATION_FETCH
      : ACCESS_WRITES[access]
        ? ept.EPT_VIOLATION_WRITE
        : ept.EPT_VIOLATION_READ;
  if (ACCESS_IS_SHADOW_STACK[access]) qualification |= ept.EPT_VIOLATION_SHADOW_STACK;
  if (isAdvanced) {
    if ((guestFlags & TR_USER) !== 0) qualification |= ept.EPT_VIOLATION_USER_LINEAR;
    if ((guestFlags & TR_RW) !== 0) qualification |= ept.EPT_VIOLATION_LINEAR_WRITABLE;
    if ((guestFlags & TR_XD) !== 0) qualification |= ept.EPT_VIOLATION_LINEAR_NO_EXECUTE;
  }
  return qualification | ept.EPT_VIOLATION_TRANSLATED;
}

/** EXITINFO1 of a nested page fault (AMD APM vol. 2, 15.25.6). */
function exitInfo1Of(walker: GuestWalker, access: Access): number {
  const { exit, exitIsFinal } = walker;
  const present = exit === second.SECOND_NOT_PRESENT ? 0 : PF_PRESENT;
  const reserved = exit === second.SECOND_RESERVED ? PF_RESERVED : 0;
  const isWrite = !exitIsFinal || ACCESS_WRITES[access];
  const isFetch = exitIsFinal && access === ACCESS_FETCH;
  const code = present | reserved | PF_USER | (isWrite ? PF_WRITE : 0) | (isFetch ? PF_FETCH : 0);
  return code + (exitIsFinal ? NPF_FINAL : NPF_GUEST_TABLES);
}
