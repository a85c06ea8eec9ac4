/** Options of commands that boot a machine: the settings of the machine and its kernel. */
import { type Command, Option } from "commander";
import { ALL_FLUSH_POLICIES, DEFERRED_POLICY, type FlushPolicy } from "../../mm/index.ts";
import { HYPERVISOR } from "../guests/hypervisor-costs.ts";
import type { GuestSettings } from "../settings/guest-settings.ts";
import { type MachineSettings, SETTINGS } from "../settings/machine-settings.ts";
import { presetNames } from "../settings/presets.ts";
import { SETTING_NAMES, type SettingName } from "../settings/setting-names.ts";
import { UsageError } from "./errors.ts";
import { listWords, optionParser } from "./option-values.ts";
import { repeatable } from "./repeated-options.ts";

/** What `--preset` and `--set` were given. */
export interface FigureOptions {
  readonly preset: string;
  readonly set: readonly string[];
}

/** Adds `--preset` and `--set` to a command. */
export function addFigureOptions(command: Command): void {
  command.addOption(
    listWords(
      new Option(
        "--preset <name>",
        `microarchitecture: its TLBs and costs (${presetNames().join(", ")}), or a file that ends in .json`,
      ).default("skylake"),
      presetNames(),
      true,
    ),
  );
  addSetOption(command);
}

/** Adds `--set` alone, to a command whose `--preset` is its own. */
export function addSetOption(command: Command): void {
  command.addOption(
    repeatable(
      new Option(
        "--set <name=value>",
        "another value for a figure of the preset or of the kernel, such as tlbs.0.ways=8 or kernel.callCycles=150; may be repeated (mmulab presets NAME shows the names)",
      ),
    ),
  );
}

/** Adds options for `names` to a command, under a heading of their own in its help. */
export function addMachineOptions(
  command: Command,
  names: readonly SettingName[] = SETTING_NAMES,
  heading = "Machine and kernel:",
): void {
  for (const name of names) {
    const { value, summary, parse, words = [], takesFiles = words.length === 0, excludes = [] } = SETTINGS[name];
    const option = new Option(value === "" ? `--${name}` : `--${name} ${value}`, summary)
      .helpGroup(heading)
      .conflicts([...excludes]);
    command.addOption(value === "" ? option : listWords(option.argParser(optionParser(parse)), words, takesFiles));
  }
}

/** Whether a policy comes with the kernel, and can be saved; one of one's own may heed anything. */
function isOfKernel(policy: FlushPolicy | undefined): boolean {
  return policy === undefined || ALL_FLUSH_POLICIES.includes(policy);
}

/** Refuses to save a machine with a policy of one's own. @throws UsageError */
export function checkSavable(file: string | undefined, { policy, balloon }: MachineSettings): void {
  if (file === undefined) return;
  if (balloon !== undefined)
    throw new UsageError("--save does not go with --balloon: a saved state has no pages of a balloon");
  if (isOfKernel(policy)) return;
  throw new UsageError("--save does not go with a policy of one's own: a saved state holds no code");
}

/**
 * Refuses settings of one machine that would not be heeded.
 * @throws UsageError
 */
export function checkHeeded(settings: MachineSettings): void {
  checkGuestSettings(settings);
  const { isolated, policy } = settings;
  if (isolated === undefined || policy === DEFERRED_POLICY || !isOfKernel(policy)) return;
  const { name } = DEFERRED_POLICY;
  throw new UsageError(`--isolated: only the flush policy ${name} heeds it (--policy ${name})`);
}

/** Refuses figures of a hypervisor where there is no guest. @throws UsageError */
export function checkGuestFigures({ guest, set = [] }: { guest?: boolean; set?: readonly string[] }): void {
  const ofHost = set.find((each) => each.startsWith(HYPERVISOR));
  if (guest === true || ofHost === undefined) return;
  throw new UsageError(`--set ${ofHost}: only guests have a hypervisor (--guest)`);
}

/**
 * Refuses figures of code that does not run.
 * @param runner what does not run any
 * @param owners how the names of its figures begin
 * @param option what the figures were given by
 * @throws UsageError
 */
export function checkCodeFigures(
  set: readonly string[],
  runner: string,
  owners: readonly string[],
  option = "--set",
): void {
  const unheeded = set.find((each) => owners.some((owner) => each.startsWith(owner)));
  if (unheeded === undefined) return;
  const code = owners.map((owner) => `a ${owner.replace(".", "")}'s`).join(" or ");
  throw new UsageError(`${option} ${unheeded}: ${runner} does not run ${code} code`);
}

/**
 * Refuses settings of guests where there is none.
 * @throws UsageError
 */
export function checkGuestSettings(settings: GuestSettings & Pick<Partial<FigureOptions>, "set">): void {
  const { guest, pcpus, overcommit } = settings;
  if (guest === true) return;
  checkGuestFigures(settings);
  const { guestPages, hostPages, vcpus, numaBalancing, balloon } = settings;
  const given = Object.entries({
    "guest-pages": guestPages,
    "host-pages": hostPages,
    vcpus,
    pcpus,
    overcommit,
    "numa-balancing": numaBalancing,
    balloon,
  });
  const [unheeded] = given.filter(([, value]) => value !== undefined);
  if (unheeded !== undefined) throw new UsageError(`--${unheeded[0]}: only guests have it (--guest)`);
}
