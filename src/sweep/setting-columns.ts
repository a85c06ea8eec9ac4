/** Columns of a sweep's grid that are settings of the machine. */
import { inputErrorAt } from "../input/errors.ts";
import { type MachineSettings, readSettings } from "../settings/machine-settings.ts";
import { GUEST_SETTING_NAMES, type SettingName } from "../settings/setting-names.ts";
import type { GridValue, SpecText } from "./spec-text.ts";

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

/** Whether some points of a grid have a guest. */
export function hasGuests(grid: SpecText["grid"]): boolean {
  return grid.some(({ name, values }) => name === "guest" && values.some(({ value }) => value === true));
}

/**
 * Refuses settings of guests in a grid that has none.
 * @param isSetting whether a column of that name is the setting, and no parameter of the experiment's own
 * @throws InputFileError with the place
 */
export function checkGuestColumns(grid: SpecText["grid"], isSetting: (name: SettingName) => boolean): void {
  if (hasGuests(grid)) return;
  const guests: readonly string[] = GUEST_SETTING_NAMES;
  for (const { name, at } of grid) {
    if (name === "guest" || !Object.hasOwn(SETTING_COLUMNS, name)) continue;
    const { [name]: setting } = SETTING_COLUMNS;
    if (guests.includes(setting) && isSetting(setting)) {
      throw inputErrorAt(at, `${name}: only guests have it (guest: true)`);
    }
  }
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
