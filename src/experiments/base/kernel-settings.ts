/** Settings of the machine that experiments take which boot kernels. */
import { GUEST_EXPERIMENT_SETTINGS } from "../../settings/guest-settings.ts";
import { SETTING_NAMES, type SettingName } from "../../settings/setting-names.ts";

/** Those that most of them take, in the order in which help lists them. */
export const KERNEL_EXPERIMENT_SETTINGS: readonly SettingName[] = [
  "kernel",
  "topology",
  "policy",
  "pti",
  "mitigations",
  "memcg-levels",
  "idle-states",
  "flush-ceiling",
  "ipi-mode",
  "spinlocks",
  ...GUEST_EXPERIMENT_SETTINGS,
];

/** These, but for those that the experiment sets itself, and some more that matter to it; in the order of help. */
export function kernelExperimentSettings(
  without: readonly SettingName[],
  more: readonly SettingName[] = [],
): readonly SettingName[] {
  const taken = [...KERNEL_EXPERIMENT_SETTINGS, ...more].filter((name) => !without.includes(name));
  return SETTING_NAMES.filter((name) => taken.includes(name));
}
