/** Columns of a sweep's grid that are settings of the machine. */
import { type MachineSettings, readSettings } from "../settings/machine-settings.ts";
import type { SettingName } from "../settings/setting-names.ts";
import type { GridValue } from "./spec-text.ts";

/** Columns of a grid that are settings of the machine, as options of the command line are. */
export const SETTING_COLUMNS: Readonly<Record<string, SettingName>> = {
  kernel: "kernel",
  topology: "topology",
  policy: "policy",
  isolated: "isolated",
  pti: "pti",
  mitigations: "mitigations",
  memcg_levels: "memcg-levels",
  idle_states: "idle-states",
  flush_ceiling_pages: "flush-ceiling",
  lazy_max_pages: "lazy-max",
  vmap_nodes: "vmap-nodes",
  nr_cpus: "nr-cpus",
  ipi_mode: "ipi-mode",
  flush_freed_tables: "flush-freed-tables",
  prove_locking: "prove-locking",
  spinlocks: "spinlocks",
  guest: "guest",
  guest_pages: "guest-pages",
  host_pages: "host-pages",
  vcpus: "vcpus",
  pcpus: "pcpus",
  overcommit: "overcommit",
  numa_balancing: "numa-balancing",
  balloon: "balloon",
};

/** How the option is spelled that stands for a column of a grid: `host-pages` for `host_pages`. */
export function columnOption(column: string): string {
  return Object.hasOwn(SETTING_COLUMNS, column) ? SETTING_COLUMNS[column] : column.replaceAll("_", "-");
}

/**
 * The settings of the machine among the values of a point.
 * @throws ValueError, UnknownNameError for one that is not possible
 */
export function settingsOf(values: Readonly<Record<string, GridValue>>): MachineSettings {
  const given = Object.entries(values).flatMap(([column, value]): [SettingName, string][] =>
    Object.hasOwn(SETTING_COLUMNS, column) ? [[SETTING_COLUMNS[column], String(value)]] : [],
  );
  return readSettings(Object.fromEntries(given));
}
