/** A schedule told as a story: who did what, on which CPU, in the kernel's function names, and where it was interrupted. */
import { ACTION_GO_ON, type Action, cpuOf, formatLinearAddress, kindOf } from "../../../arch/index.ts";
import { type EventDefinition, observeEach, POINT_UNLOCKED, type VmallocEvents } from "../../../mm/index.ts";
import type { Explorer } from "./explorer.ts";
import { actionName } from "./explorer.ts";
import { replaySchedule } from "./minimise.ts";
import type { Deviations } from "./schedule-text.ts";

/** One line of a story. */
export interface StoryLine {
  /** The CPU that acts. */
  readonly cpu: number;
  readonly text: string;
  /** Whether another CPU is chosen here although this one could go on. */
  readonly isInterference: boolean;
}

/** The kernel's functions that events are raised in, where the event is called otherwise. */
const FUNCTIONS: Readonly<Partial<Record<keyof VmallocEvents, string>>> = {
  alloc: "alloc_vmap_area",
  free: "free_vmap_area_noflush",
  purgeBegin: "__purge_vmap_area_lazy begins",
  purge: "__purge_vmap_area_lazy ends",
  purgeNode: "purge_vmap_node",
  merge: "merge_or_add_vmap_area",
  flushRange: "flush_tlb_kernel_range",
  flushAll: "flush_tlb_all",
  poolAdd: "node_pool_add_va",
  poolDel: "node_pool_del_va",
  poolRot: "node_pool_del_va rotates",
  decay: "decay_va_pool_node",
  decayVa: "decay_va_pool_node gives back",
  newBlock: "new_vmap_block",
  freeBlock: "free_vmap_block",
  purgeFrag: "purge_fragmented_block",
  vbAlloc: "vb_alloc",
  vbFree: "vb_free",
  drainSched: "schedule_work of drain_vmap_work",
  drain: "drain_vmap_area_work",
  aliases: "_vm_unmap_aliases",
  mapPages: "vmap_pages_range",
  mapRange: "vmap_page_range",
  vunmap: "vunmap_range_noflush",
  ptAlloc: "allocates a page table",
  ptFree: "frees a page table",
};

/** Runs a schedule and tells what happened in it. */
export function tellStory(explorer: Explorer<unknown>, deviations: Deviations): StoryLine[] {
  const lines: StoryLine[] = [];
  const { loop } = explorer.kernel.machine;
  const note = (text: string, isInterference = false, cpu = loop.currentCpu): void => {
    lines.push({ cpu, text, isInterference });
  };
  const tells = observeEach(
    (hook, definition) =>
      (...values) =>
        note(describeEvent(hook, definition, values)),
  );
  explorer.observer = { chosen: (...choice) => tellChoice(note, ...choice) };
  explorer.onBegin = () => {
    // One that the host has ended is run again.
    lines.length = 0;
    explorer.kernel.vm.flushing.smp.observer = {
      ipiSent: (_id, _from, to) => note(`sends an interrupt to CPU ${to}`),
      ipiTaken: (_id, cpu) => note("takes the interrupt", false, cpu),
    };
    explorer.watchEvents(tells);
  };
  replaySchedule(explorer, deviations);
  explorer.observer = null;
  explorer.onBegin = null;
  return lines;
}

type Note = (text: string, isInterference?: boolean, cpu?: number) => void;

function tellChoice(note: Note, action: Action, current: number, at: string, subject: unknown): void {
  const isGoingOn = kindOf(action) === ACTION_GO_ON && cpuOf(action) === current;
  if (current >= 0 && at !== "pause") note(placeOf(at, subject), false, current);
  if (isGoingOn) return;
  note(
    current >= 0 ? `${actionName(action)} acts first` : `${actionName(action)} is next`,
    current >= 0,
    cpuOf(action),
  );
}

/** Where code is: before what it is about to do, or at a point. */
function placeOf(at: string, subject: unknown): string {
  const lock = typeof subject === "object" && subject !== null && "name" in subject ? String(subject.name) : null;
  if (at === POINT_UNLOCKED) return `has given back ${lock}`;
  if (at !== "before") return at;
  if (typeof subject === "string") return `before ${subject}`;
  return lock === null ? "before sending interrupts" : `before taking ${lock}`;
}

/** An event by the kernel function that it is in, with its addresses and numbers. */
function describeEvent(
  hook: keyof VmallocEvents,
  { name, fields }: EventDefinition,
  values: readonly (number | boolean)[],
): string {
  const texts: string[] = [];
  let at = 0;
  for (const [field, kind] of fields) {
    const value = values[at];
    at += kind === "pte" ? 2 : 1;
    if (kind === "address") texts.push(`${field}=${formatLinearAddress(Number(value))}`);
    else if (kind === "number") texts.push(`${field}=${value}`);
    else if (kind === "flag" && value === true) texts.push(field);
  }
  return `${FUNCTIONS[hook] ?? name}: ${texts.join(" ")}`;
}

/** The story as text, a column for each CPU. */
export function formatStory(lines: readonly StoryLine[], cpus: number): string {
  const width = Math.max(24, Math.floor((100 - 4) / cpus));
  const rows = lines.map(({ cpu, text, isInterference }) => {
    const mark = isInterference ? "=>" : "  ";
    return `${mark} ${" ".repeat(cpu * Math.min(width, 40))}${text}`.trimEnd();
  });
  const head = Array.from({ length: cpus }, (_, cpu) => `CPU ${cpu}`.padEnd(Math.min(width, 40))).join("");
  return `   ${head.trimEnd()}\n${rows.join("\n")}\n`;
}
