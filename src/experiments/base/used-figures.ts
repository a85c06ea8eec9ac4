/**
 * Which figures a run uses: those that were charged to a CPU's clock, and those that decided what was charged. Most are read where they are
 * charged, so reads are noted (`noted-reads.ts`). What code on hot paths has copied when a machine was made is told by what the machine
 * has counted: page walks, locks taken, cycles by activity.
 */
import type { Machine, NamedFigure, Preset } from "../../../arch/index.ts";
import { SHARED_CORE } from "../../../arch/time/cycle-accounts.ts";
import { DEFAULT_KERNEL_COSTS, lockStatistics, type MitigationMode, mitigationCosts } from "../../../mm/index.ts";
import { HYPERVISOR, HYPERVISOR_COSTS } from "../../guests/hypervisor-costs.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../machine/kernel.ts";
import { NotedReads } from "./noted-reads.ts";
import { translationFigures } from "./translation-figures.ts";

/** What moving a line takes, by distance from another hardware thread of the core on. */
const LINE_FIGURES = ["core", "cluster", "socket", "remote", "far"].map((distance) => `lineTransfers.${distance}`);
/** Those between which it makes a difference which cores share a last-level cache. */
const WITHIN_SOCKET = ["lineTransfers.cluster", "lineTransfers.socket"];

/** The figures that one run of an experiment uses. */
export class UsedFigures {
  /** The preset that its machines are to have. */
  readonly preset: Preset;
  private readonly reads = new NotedReads();
  /** Machines, of which it is not known yet what they have counted. */
  private readonly machines: Machine[] = [];

  constructor(preset: Preset) {
    this.preset = this.reads.copyOf(preset);
  }

  /** Boots a kernel whose use of figures is noted from then on. @param config with this preset, or one made from it */
  boot(config: Partial<KernelConfig>): Kernel {
    const { reads } = this;
    const { guest, costs = DEFAULT_KERNEL_COSTS } = config;
    // Reads are noted in what the kernel alone has.
    const own = { ...config, costs: structuredClone(costs) };
    const hostCosts = reads.copyOf(guest?.costs ?? HYPERVISOR_COSTS, HYPERVISOR);
    const kernel = reads.apart(() =>
      bootKernel(guest === undefined ? own : { ...own, guest: { ...guest, costs: hostCosts } }),
    );
    this.watchKernel(kernel);
    this.watch(kernel.machine);
    return kernel;
  }

  /** Makes a machine whose use of figures is noted from then on. What it reads to check its settings does not count. */
  build(make: () => Machine): Machine {
    const machine = this.reads.apart(make);
    this.watch(machine);
    return machine;
  }

  /** A part of the run is over, whose machines do nothing more. */
  settle(): void {
    for (const machine of this.machines.splice(0)) this.count(machine);
  }

  /** Which of `figures` were used, the run being over. */
  among(figures: readonly NamedFigure[]): ReadonlySet<NamedFigure> {
    this.settle();
    const { names } = this.reads;
    // What takes a line from memory or a cache has looked at the sizes of all.
    if (figures.some(({ name }) => names.has(name) && /^(memory$|dataCaches\.)/.test(name))) names.add("dataCaches.");
    const beginnings = [...names].filter((name) => name.endsWith("."));
    const isUsed = ({ name }: NamedFigure): boolean =>
      names.has(name) || beginnings.some((beginning) => name.startsWith(beginning));
    // Nanoseconds become cycles by the frequency.
    if (figures.some((figure) => figure.unit === "ns" && isUsed(figure))) names.add("frequencyGhz");
    return new Set(figures.filter(isUsed));
  }

  private watch(machine: Machine): void {
    const { lines } = machine.loop;
    // The machines of a preset may have one list.
    const [self, ...others] = lines.transferCycles;
    lines.transferCycles = [self, ...others];
    others.forEach((_, i) => {
      this.reads.noteField(lines.transferCycles, String(i + 1), LINE_FIGURES[i]);
    });
    this.machines.push(machine);
  }

  private watchKernel({ mm, config, machine }: Kernel): void {
    const { reads } = this;
    reads.noteFields(mm.costs, "kernel");
    mm.flushing.smp.idleStates?.forEach((state, i) => {
      reads.noteField(state, "exitCycles", `idleStates.${i}.exitLatency`);
      reads.noteField(state, "residencyCycles", `idleStates.${i}.targetResidency`);
    });
    const { mitigations = "off" } = config;
    reads.noteField(machine.loop, "contextSwitchCycles", "kernel.contextSwitchCycles");
    if (mitigations !== "off") this.watchMitigations(mm.flushing.mitigations, machine, mitigations);
  }

  private watchMitigations(cycles: object, { preset, loop }: Machine, mode: MitigationMode): void {
    const { reads } = this;
    for (const [place, costs] of Object.entries(mitigationCosts(preset, mode))) {
      const names = costs.map((cost) => `mitigations.costs.${cost}`);
      reads.noteField(cycles, place, ...names);
      if (place === "contextSwitch") {
        reads.noteField(loop, "contextSwitchCycles", "kernel.contextSwitchCycles", ...names);
      }
    }
    // What was selected decides at every entry; what thunks take is part of each cost of kernel code.
    reads.names.add("mitigations.selected.");
    if (preset.mitigations?.selected.returns !== "none") reads.names.add("mitigations.costs.returnThunk");
  }

  private count({ cpus, loop, config }: Machine): void {
    const { names } = this.reads;
    for (const cpu of cpus) for (const name of translationFigures(cpu, this.preset)) names.add(name);
    const hasBooked = (activity: string): boolean =>
      cpus.some(({ id }) => (loop.accounts.ofCpu(id).get(activity) ?? 0) > 0);
    if (hasBooked(SHARED_CORE)) names.add("sharedCore.throughput");
    if (lockStatistics(loop).some(({ acquisitions }) => acquisitions > 0)) names.add("kernel.lock.uncontendedCycles");
    const isClusterGiven = config.topology?.coresPerCluster !== undefined;
    if (!isClusterGiven && WITHIN_SOCKET.some((name) => names.has(name))) names.add("lineTransfers.coresPerCluster");
  }
}
