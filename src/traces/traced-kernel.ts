/** The emulated kernel in which a trace is replayed, and what every such replay reports. */
import { EventCounter } from "../events/event-counter.ts";
import { bootKernel, type Kernel } from "../machine/kernel.ts";
import { figureCountsOf } from "../report/figures.ts";
import { costParts, flushCosts } from "../report/flush-costs.ts";
import { guestReport } from "../report/guest.ts";
import { describeSettings, kernelSettings } from "../settings/machine-settings.ts";
import type { FtraceOptions, FtraceReport } from "./ftrace-report.ts";
import type { SkipList } from "./ftrace-skips.ts";
import type { FtraceSurvey } from "./ftrace-survey.ts";
import { ReasonCounter } from "./traced-shootdowns.ts";

/** The activity of CPUs that have been interrupted. */
const INTERRUPTS = "interrupts";

/** Boots the kernel that the options and the trace ask for, and counts what happens in it. */
export class TracedKernel {
  readonly kernel: Kernel;
  readonly counter = new EventCounter();
  /** Flushes of user address spaces. */
  private readonly reasons = new ReasonCounter();
  private readonly shootdowns: FtraceSurvey["shootdowns"];
  readonly traced: { -readonly [Field in keyof FtraceReport["traced"]]: FtraceReport["traced"][Field] };
  /** Cycles of the emulated machine in a unit of the trace's time: what a clock counts is taken for cycles. */
  readonly cyclesPerSecond: number;
  /** Whether drains are made when the traced kernel made them, and areas lie where they did: with the traced `lazy_max_pages`. */
  readonly followsTrace: boolean;
  private readonly skipped: SkipList;
  private readonly settings: Readonly<Record<string, string | number>>;
  private readonly keepsAccounts: boolean;
  private readonly doubts: readonly string[];
  private readonly onKernel: FtraceOptions["onKernel"];

  constructor(survey: FtraceSurvey, options: FtraceOptions, skipped: SkipList) {
    const { notes } = survey;
    const cpus = Math.max(survey.cpus, notes.cpus);
    const lazyMaxPages = survey.lazyMaxPages > 0 ? survey.lazyMaxPages : notes.lazyMaxPages;
    this.skipped = skipped;
    this.shootdowns = survey.shootdowns;
    const { hashedAreas, doubts } = notes;
    const hashed =
      hashedAreas > 0
        ? [`areas before the trace begins are not made: their addresses are hashed (${hashedAreas})`]
        : [];
    this.doubts = [...hashed, ...doubts];
    this.settings = describeSettings(options.settings ?? {});
    this.keepsAccounts = options.accounts === true;
    const ownLazyMax = options.cpus === undefined && lazyMaxPages > 0 ? lazyMaxPages : undefined;
    const lazyMax = options.settings?.lazyMax ?? ownLazyMax;
    const version = options.settings?.kernel ?? notes.kernel ?? undefined;
    const settings = {
      ...options.settings,
      ...(lazyMax === undefined ? {} : { lazyMax }),
      ...(version === undefined ? {} : { kernel: version }),
    };
    const { boot = bootKernel } = options;
    this.kernel = boot({
      ...kernelSettings(settings, options.cpus ?? cpus),
      memoryBytes: options.memoryBytes,
      preset: options.preset,
      ...(options.version === undefined ? {} : { kernel: options.version }),
    });
    const { vm, machine } = this.kernel;
    // The times of a trace have in them what its CPUs lost by sharing cores.
    machine.loop.sharedCores = null;
    const hertz = machine.preset.frequencyGhz.value * 1e9;
    this.cyclesPerSecond = survey.isTicks ? 1 : hertz;
    const seconds = ((survey.lastSeconds - survey.firstSeconds) * this.cyclesPerSecond) / hertz;
    const { flushes } = survey;
    this.traced = {
      cpus,
      seconds,
      lazyMaxPages,
      purges: 0,
      explicitPurges: 0,
      areasPurged: 0,
      ...(flushes === undefined ? {} : { flushes }),
      ...(notes.release === "" ? {} : { release: notes.release }),
    };
    this.followsTrace = options.followsOwnRules !== true && vm.config.lazyMaxPages === lazyMaxPages;
    this.onKernel = options.onKernel;
  }

  /** Counts, and lets others watch, from now on. What was made before belongs to the state in which the trace begins. */
  startCounting(): void {
    const { vm } = this.kernel;
    vm.events = this.counter;
    vm.flushing.tlbFlushObserver = this.reasons;
    vm.flushing.keepAccounts();
    this.onKernel?.(this.kernel);
  }

  /** All but what the replay itself counts. */
  report(trace: string): Omit<FtraceReport, "areas" | "allocCycles" | "freeCycles"> {
    const { kernel, counter, traced, skipped } = this;
    const { machine, vm } = kernel;
    const accounts = vm.flushing.keepAccounts();
    const activities = machine.loop.accounts.total();
    const { sent, taken } = vm.flushing.smp;
    const shootdowns = this.shootdowns.compare(this.reasons, {
      sent,
      handlers: taken.reduce((sum, count) => sum + count, 0),
      handlerSeconds: (activities.get(INTERRUPTS) ?? 0) / (machine.preset.frequencyGhz.value * 1e9),
    });
    return {
      trace,
      machine: {
        preset: machine.preset.name,
        frequencyGhz: machine.preset.frequencyGhz.value,
        figures: figureCountsOf(kernel),
        ...(Object.keys(this.settings).length === 0 ? {} : { settings: this.settings }),
        cpus: machine.loop.cpus,
      },
      ...(kernel.host === null ? {} : { guest: guestReport(machine, kernel.host) }),
      ...(shootdowns === undefined ? {} : { shootdowns }),
      policy: vm.flushing.policy.name,
      kernel: vm.version.name,
      lazyMaxPages: vm.config.lazyMaxPages,
      traced,
      purges: counter.purges,
      areasPurged: counter.areasPurged,
      fullFlushes: counter.fullFlushes,
      rangeFlushes: counter.rangeFlushes,
      flushCost: costParts(accounts.total()),
      cyclesByActivity: Object.fromEntries(activities),
      ...(this.keepsAccounts ? { flushCosts: flushCosts(accounts, vm.flushing.policy.name, activities) } : {}),
      differences: this.differences(),
      skipped: skipped.list(),
      lost: skipped.lost(),
    };
  }

  /** What the traced kernel did and the emulated one did not, or the other way round. */
  private differences(): string[] {
    const { counter, traced } = this;
    const found: string[] = [...this.doubts];
    const compare = (what: string, there: number, here: number): void => {
      if (there !== here) found.push(`${what}: ${there} in the traced kernel, ${here} here`);
    };
    compare("purges", traced.purges, counter.purges);
    if (traced.areasPurged > 0) compare("areas purged", traced.areasPurged, counter.areasPurged);
    if (traced.flushes !== undefined) {
      compare("flushes of whole TLBs", traced.flushes.whole, counter.fullFlushes);
      compare("flushes page by page", traced.flushes.pageByPage, counter.rangeFlushes);
    }
    return found;
  }
}
