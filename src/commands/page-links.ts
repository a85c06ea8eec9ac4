/** Links from reports of experiments into the page of `mmulab view`. */
import { UsageError } from "../command-line/errors.ts";
import type { Experiment } from "../experiments/base/experiment.ts";
import type { PointObserver } from "../experiments/base/points.ts";
import { KERNEL_EXPERIMENTS } from "../experiments/kernel-experiments.ts";
import type { PageLinks } from "../experiments/render/result-html.ts";
import { defaultText } from "../input/parameters.ts";
import type { Kernel } from "../machine/kernel.ts";
import { describeSettings, type MachineSettings, settingTexts } from "../settings/machine-settings.ts";
import { POLICY_NAMES, policyFilesIn } from "../settings/own-policy.ts";
import { formatLink } from "../view/model/link.ts";
import { CPUS_MAX } from "../view/model/scenario.ts";

/** The port that `mmulab view` takes when it is free, so that reports can name it. */
export const VIEW_PORT = 7437;

/** Counts the CPUs of each point's machines: the page shows no more than it can. */
export class CpusOfPoints implements PointObserver {
  private readonly cpus = new Map<string, number>();
  private current = "";

  wants(): boolean {
    return true;
  }

  begins(path: string): void {
    if (!path.includes(".")) this.current = path;
  }

  ends(): void {}

  /** A machine was booted for the current point. */
  booted(kernel: Kernel): void {
    this.cpus.set(this.current, Math.max(this.cpus.get(this.current) ?? 0, kernel.machine.cpus.length));
  }

  /** Whether no machine was booted with a kernel on it. */
  get areWithoutKernels(): boolean {
    return this.cpus.size === 0;
  }

  /** Whether the page can show a point. */
  canShow(path: string): boolean {
    const cpus = this.cpus.get(path.split(".")[0]);
    return cpus !== undefined && cpus <= CPUS_MAX;
  }
}

/** What links of one run are made of. */
interface LinkOptions {
  readonly preset: string;
  readonly set?: readonly string[] | undefined;
  readonly seed: number;
  readonly page?: string | undefined;
}

/**
 * Links to the points of a run, or why there are none.
 * @param given parameters by name, as text
 * @throws UsageError for an address that is none
 */
export function pageLinks(
  experiment: Experiment,
  { preset, set = [], seed, page }: LinkOptions,
  given: Readonly<Record<string, string>>,
  settings: MachineSettings,
  points: CpusOfPoints,
): PageLinks {
  const base = page ?? `http://127.0.0.1:${VIEW_PORT}/`;
  if (!URL.canParse(base))
    throw new UsageError(`--page ${base}: expected an address, as http://127.0.0.1:${VIEW_PORT}/`);
  const words = describeSettings(settings);
  const reason = whyNone(experiment, given, words, points);
  const parameters = experiment.parameters
    .filter((spec) => given[spec.name] !== undefined && given[spec.name] !== defaultText(spec))
    .map(({ name }) => `${name}=${given[name]}`);
  const local = `Rows link to the page that shows the machine step by step; they open while \`mmulab view --no-open\` runs on this computer.`;
  return {
    note: page === undefined ? local : `Rows link to the page that shows the machine step by step: ${page}`,
    whyNone: `Rows do not link to the page of \`mmulab view\`: ${reason ?? `its machines have at most ${CPUS_MAX} CPUs`}.`,
    urlOf: (point) => {
      if (reason !== null || !points.canShow(point)) return null;
      const scenario = {
        kind: "experiment",
        name: experiment.name,
        point,
        seed,
        preset,
        ...(set.length === 0 ? {} : { set }),
        parameters,
        settings: settingTexts(settings),
      } as const;
      return `${base.replace(/#.*$/, "")}#${formatLink({ scenario, position: 0, focus: { cpu: null, address: null } })}`;
    },
  };
}

/** What keeps the page from running any point of a run; null for nothing. */
function whyNone(
  experiment: Experiment,
  given: Readonly<Record<string, string>>,
  words: Readonly<Record<string, unknown>>,
  points: CpusOfPoints,
): string | null {
  if (experiment.name === "kernel-diff") return "each compares two runs, of files too";
  if (!KERNEL_EXPERIMENTS.includes(experiment)) return "the experiment is a file of one's own, which it cannot read";
  if ("preset-file" in words) return "the preset is a file of one's own, which a link does not hold";
  const policies = POLICY_NAMES.flatMap((name) => policyFilesIn(given[name] ?? String(words[name] ?? "")));
  if (policies.length > 0) return `${policies.join(", ")} is a policy of one's own, which it cannot read`;
  return points.areWithoutKernels ? "it shows kernels, and the machines here have none" : null;
}
