/** Bugs of concurrency planted in the host of a guest: memory that it takes away while vCPUs run, wait and are entered. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_GUEST_RACES: readonly PlantedRace[] = [
  {
    name: "the host enters a vCPU without invalidating what it took from the guest",
    file: "src/guests/guest-host.ts",
    search: "    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);\n",
    replacement: "    this.unmapping?.payInvalidation(cpu);\n",
  },
  {
    name: "the host asks only the vCPU that gives memory away to invalidate",
    file: "src/guests/host-unmap.ts",
    search: "    this.owed.fill(1);\n",
    replacement: "    this.owed[cpu] = 1;\n",
  },
  {
    name: "the host asks vCPUs to invalidate before it has taken the pages away",
    file: "src/guests/host-unmap.ts",
    search:
      '    const frames = guestFrames.flatMap((frame) => hypervisor.unmap(frame));\n    loop.clockCycles[cpu] += frames.length * zapCycles();\n    this.unmappings++;\n    this.pages += frames.length;\n    // Its own part counts until all are kicked: those that were first may have left the guest by then.\n    const unmapping: Unmapping = { cpu, frames, outstanding: 1, seenAtCycles: loop.clockCycles[cpu] };\n    loop.pointIrqsOff("kvm_mmu_notifier_invalidate_range_start: entries are cleared");\n    this.owed.fill(1);\n',
    replacement:
      '    this.owed.fill(1);\n    loop.pointIrqsOff("kvm_make_all_cpus_request: requests are made");\n    const frames = guestFrames.flatMap((frame) => hypervisor.unmap(frame));\n    const unmapping: Unmapping = { cpu, frames, outstanding: 1, seenAtCycles: loop.clockCycles[cpu] };\n',
  },
  {
    name: "the host does not ask vCPUs that are in the host themselves",
    file: "src/guests/host-unmap.ts",
    search: "    this.owed.fill(1);\n",
    replacement: "    for (const { id, vcpu } of cpus) if (id === cpu || vcpu !== null) this.owed[id] = 1;\n",
  },
  {
    name: "the host does not have preempted vCPUs invalidate",
    file: "src/guests/host-unmap.ts",
    search: "        scheduler.skip(other);\n        continue;",
    replacement: "        this.owed[other] = 0;\n        continue;",
  },
  {
    name: "the host does not kick vCPUs",
    file: "src/guests/host-unmap.ts",
    search: "      unmapping.outstanding++;\n",
    replacement: "      continue;\n",
  },
  {
    name: "the host gives pages back before the vCPUs that it has kicked have left the guest",
    file: "src/guests/host-unmap.ts",
    search: "    if (--unmapping.outstanding === 0) {\n      this.free(frames);\n",
    replacement: "    this.free(frames);\n    if (--unmapping.outstanding === 0) {\n",
  },
  {
    name: "the host waits only for the first vCPU that leaves the guest",
    file: "src/guests/host-unmap.ts",
    search: "    if (--unmapping.outstanding === 0) this.finish(unmapping);",
    replacement: "    if (--unmapping.outstanding >= 0) this.finish(unmapping);",
  },
  {
    name: "a vCPU that is kicked acknowledges before it leaves the guest",
    file: "src/guests/host-unmap.ts",
    search: "    if (isInGuest) leave(cpu);\n",
    replacement: "",
  },
  {
    name: "a vCPU that takes memory from its guest goes on there meanwhile",
    file: "src/guests/host-unmap.ts",
    search: "    scheduler.hold(cpu);\n",
    replacement: "",
  },
  {
    name: "TLB_CONTROL is set one VMRUN late",
    file: "src/guests/guest-host.ts",
    search:
      "    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);\n    this.paravirt?.enterGuest(cpu);\n    this.vcpus[cpu].tlbControl = TLB_CONTROL_NOTHING;",
    replacement:
      "    this.paravirt?.enterGuest(cpu);\n    this.vcpus[cpu].tlbControl = TLB_CONTROL_NOTHING;\n    if (this.unmapping?.payInvalidation(cpu)) this.vcpus[cpu].tlbControl = TLB_CONTROL_GUEST;",
  },
  {
    name: "TLB_CONTROL is cleared before VMRUN",
    file: "src/guests/guest-host.ts",
    search: "    this.paravirt?.enterGuest(cpu);\n    this.vcpus[cpu].tlbControl = TLB_CONTROL_NOTHING;",
    replacement: "    this.vcpus[cpu].tlbControl = TLB_CONTROL_NOTHING;\n    this.paravirt?.enterGuest(cpu);",
  },
  {
    name: "INVEPT comes after the entry",
    file: "src/guests/guest-host.ts",
    search:
      "    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);\n    this.paravirt?.enterGuest(cpu);",
    replacement:
      "    this.paravirt?.enterGuest(cpu);\n    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);",
  },
  {
    name: "a vCPU that is entered looks too early what was asked of it",
    file: "src/guests/guest-host.ts",
    search:
      '    this.point(cpu, "vcpu_enter_guest: in the host");\n    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);\n',
    replacement:
      '    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);\n    this.point(cpu, "vcpu_enter_guest: in the host");\n',
  },
  {
    name: "what was asked of a vCPU is cleared after the entry",
    file: "src/guests/guest-host.ts",
    search: '    this.point(cpu, "vcpu_enter_guest: in the guest");',
    replacement: '    this.point(cpu, "vcpu_enter_guest: in the guest");\n    this.unmapping?.payInvalidation(cpu);',
  },
];
