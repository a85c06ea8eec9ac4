/** The names of settings, as the command line writes them: `--flush-ceiling`. Apart from what they mean, for the page, which only needs the names. */

/** Names of settings of a guest and of the host below it, in the order of the help. */
export const GUEST_SETTING_NAMES = [
  "guest",
  "guest-pages",
  "host-pages",
  "vcpus",
  "pcpus",
  "overcommit",
  "numa-balancing",
  "balloon",
] as const;
export type GuestSettingName = (typeof GUEST_SETTING_NAMES)[number];

/** Names of all settings of a machine and its kernel, in the order of the help. */
export const SETTING_NAMES = [
  "kernel",
  "topology",
  "policy",
  "isolated",
  "pti",
  "mitigations",
  "memcg-levels",
  "idle-states",
  "flush-ceiling",
  "lazy-max",
  "vmap-nodes",
  "nr-cpus",
  "ipi-mode",
  "flush-freed-tables",
  "prove-locking",
  "spinlocks",
  ...GUEST_SETTING_NAMES,
] as const;
export type SettingName = (typeof SETTING_NAMES)[number];
