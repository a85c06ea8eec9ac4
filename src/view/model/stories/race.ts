/** A race that the schedule explorer finds: a flush that misses a CPU in the middle of a context switch. */
import type { ExploreTest } from "../../../explore/base/explore-test.ts";
import { Explorer, type ScheduleResult } from "../../../explore/base/explorer.ts";
import { minimise, replaySchedule } from "../../../explore/base/minimise.ts";
import { type ExplorePlan, runShare, type ShareResult } from "../../../explore/base/plan.ts";
import { formatSchedule } from "../../../explore/base/schedule-text.ts";
import { type StoryLine, tellStory } from "../../../explore/base/story.ts";
import { switchAgainstMunmap } from "../../../explore/tests/user-spaces.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import type { OpenStory, Story, StoryStep } from "./story.ts";

const START = 0x400000;
const PLAN: ExplorePlan = { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 3, seed: 1 };
const SCHEDULES_MAX = 2000;

export const race: Story = {
  name: "race",
  title: "A race that the schedule explorer finds",
  summary:
    "munmap on one CPU while another switches to the same process, in a kernel with the bug that Linux mended in 6.15 (fea4e317f9e7).",
  provokes: /translates 0x000000000040[01]000/,
  open(): OpenStory {
    const test: ExploreTest = switchAgainstMunmap;
    const explorer = new Explorer({ ...test, kernel: { ...test.kernel, bugs: ["flushSkipsSwitchingCpus"] } });
    return { kernel: explorer.kernel, steps: stepsOf(explorer, test) };
  },
};

function stepsOf(explorer: Explorer<unknown>, test: ExploreTest): StoryStep[] {
  const look = { view: "tlbs", address: START, cpu: 1 } as const;
  let found: ShareResult | null = null;
  let observers = observersOf(explorer.kernel);
  return [
    {
      title: "The situation",
      text: "Process A runs on CPU 0 and has run on CPU 1, whose TLB still has A's pages under a PCID that is not loaded. Next, CPU 0 unmaps them, and CPU 1 switches back to A and reads one. When munmap has returned, no CPU may read them.",
      act: () => {
        observers = observersOf(explorer.kernel);
        return { found: test.summary, ...look };
      },
    },
    {
      title: "Without interference",
      text: "First all of CPU 0's code, then all of CPU 1's. munmap raises A's tlb_gen; the switch sees that its generation is behind and flushes. This order works, and so do nearly all. A test that runs it a thousand times finds nothing.",
      act: () => ({ found: verdict(replaySchedule(explorer, new Map())), ...look }),
    },
    {
      title: "The search",
      text: "The explorer runs the two pieces of code in one order after the other: all with at most two preemptions, at locks, at interrupts, and at named points of plain code. It looks after each at what the CPUs have cached, and stops at the first that goes wrong.",
      act: () => {
        found = runShare(explorer, PLAN, { root: [], first: 0, count: SCHEDULES_MAX });
        return { found: `schedule number ${found.failure?.schedules} fails`, ...look };
      },
    },
    {
      title: "The schedule that fails, made short",
      text: "CPU 1 has read A's generation and not yet said that it runs A. CPU 0 raises the generation now and asks whom to interrupt: should_flush_tlb finds another address space loaded on CPU 1 and leaves it out. Then CPU 1 loads A, believes that it is up to date, and reads a page that is no more. Lines with => are where one was preempted.",
      act: () => {
        if (found?.failure == null) throw new Error("the search found nothing");
        const short = minimise(explorer, found.failure.result);
        const lines = tellStory(explorer, short.deviations).map(lineOf);
        return { found: watched(explorer, short, observers), lines, ...look };
      },
    },
    {
      title: "The mended kernel",
      text: "Linux 6.15 interrupts a CPU in the middle of a switch as well. The same search over that kernel (not the machine that is shown here):",
      act: () => {
        const mended = new Explorer(test);
        const { schedules, failure, isComplete } = runShare(mended, PLAN, { root: [], first: 0, count: SCHEDULES_MAX });
        const reach = isComplete ? ", all there are" : "";
        return { found: `${schedules} schedules${reach}: ${failure === null ? "none fails" : "one fails"}`, ...look };
      },
    },
  ];
}

/** Who looks at a machine. */
function observersOf({ machine, vm }: Kernel) {
  return { activities: machine.loop.accounts.observer, interrupts: vm.flushing.smp.observer, events: vm.events };
}

/** Runs a schedule once more with those looking on who looked at the machine before the first: each schedule forgets them. */
function watched(
  explorer: Explorer<unknown>,
  { deviations }: ScheduleResult,
  { activities, interrupts, events }: ReturnType<typeof observersOf>,
): string {
  const { machine, vm } = explorer.kernel;
  explorer.onBegin = () => {
    machine.loop.accounts.observer = activities;
    vm.flushing.smp.observer = interrupts;
    if (events !== null) explorer.watchEvents(events);
  };
  const result = replaySchedule(explorer, deviations);
  explorer.onBegin = null;
  return `${formatSchedule(deviations)}: ${verdict(result)}`;
}

function verdict({ failure }: ScheduleResult): string {
  return failure === null ? "nothing is wrong" : `${failure.kind}: ${failure.message}`;
}

function lineOf({ cpu, text, isInterference }: StoryLine): string {
  return `${isInterference ? "=>" : "  "} CPU ${cpu}  ${text}`;
}
