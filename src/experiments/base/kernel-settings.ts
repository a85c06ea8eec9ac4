/** Settings of the machine that most experiments take which boot kernels. */
import { GUEST_EXPERIMENT_SETTINGS } from "../../settings/guest-settings.ts";
import type { SettingName } from "../../settings/machine-settings.ts";

/** In the order in which help lists them. */
export const KERNEL_EXPERIMENT_SETTINGS: readonly SettingName[] = [
  "kernel",
  "topology",
  "policy",
  "pti",
  "mitigations",
  "idle-states",
  "flush-ceiling",
  "ipi-mode",
  ...GUEST_EXPERIMENT_SETTINGS,
];
