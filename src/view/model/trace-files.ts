/** Traces of others, replayed step by step: ftrace text of vmalloc's events, and memory references of valgrind's lackey. */
import { ACCESS_STORE, type Access, formatLinearAddress, PageFault } from "../../../arch/index.ts";
import { NotEnoughMemory } from "../../../mm/index.ts";
import { InputFileError } from "../../input/errors.ts";
import { bootKernel } from "../../machine/kernel.ts";
import { AddressSpaces } from "../../references/address-spaces.ts";
import { BatchWriter } from "../../references/batch-writer.ts";
import { LackeyLines } from "../../references/lackey-lines.ts";
import { KIND_CONTINUES, ReferenceBatch } from "../../references/reference-batch.ts";
import { AreaReplay } from "../../traces/area-replay.ts";
import { type FtraceEvent, parseFtraceLine } from "../../traces/ftrace-lines.ts";
import { SkipList } from "../../traces/ftrace-skips.ts";
import { FtraceSurvey, surveyLine } from "../../traces/ftrace-survey.ts";
import type { Begun, Told } from "./begin.ts";
import { CPUS_MAX } from "./scenario.ts";

const PRESET = "skylake";
const MEMORY_BYTES = 2 ** 32;
/** References of a lackey trace at the most. */
const REFERENCES_MAX = 2_000_000;
/** What the kinds of references are called. */
const VERBS: Readonly<Record<number, string>> = { 0: "load", 1: "store", 2: "fetch" };

/** Whether any of these lines is a vmalloc event of ftrace. */
export function hasFtraceEvents(lines: readonly string[]): boolean {
  return lines.some((line) => {
    const { event } = parseFtraceLine(line);
    return event !== "skip" && event !== "lost" && event !== "note";
  });
}

/**
 * Reads ftrace text; a step is an event.
 * @throws InputFileError when it has no event of vmalloc
 */
export function openFtrace(name: string, lines: readonly string[]): () => Begun {
  const survey = new FtraceSurvey();
  const events: { readonly event: FtraceEvent; readonly line: number }[] = [];
  const noted = new SkipList();
  lines.forEach((text, i) => {
    const event = parseFtraceLine(text);
    surveyLine(event, name, i + 1, survey, noted);
    if (event.event !== "skip" && event.event !== "lost" && event.event !== "note") events.push({ event, line: i + 1 });
  });
  if (events.length === 0) throw new InputFileError(name, 1, noted.whyNothing());
  const unused = noted
    .list()
    .map(
      ({ reason, count, lines: first }) =>
        `${count === 1 ? "1 line" : `${count} lines`}, ${count === 1 ? "" : "the first "}at line ${first[0]}: ${reason}`,
    );
  return () => {
    const cpus = survey.cpus > CPUS_MAX ? { cpus: CPUS_MAX } : {};
    const replay = new AreaReplay(survey, { preset: PRESET, memoryBytes: MEMORY_BYTES, ...cpus }, new SkipList());
    let next = 0;
    let told: Told = beginOf(name, `Events of vmalloc in ftrace text: ${events.length}.`, unused);
    const step = (): boolean => {
      if (next > events.length) return false;
      if (next === events.length) {
        const { areas } = replay.report(name);
        const found = `${areas.allocated} areas allocated, ${areas.atTracedAddress} of them at the traced address; ${areas.freed} freed`;
        told = { title: "the end", text: "", found, lines: [], look: {} };
      } else {
        const { event, line } = events[next];
        replay.make(event, line, next);
        told = { title: `line ${line}: ${event.event}`, text: "", found: lines[line - 1].trim(), lines: [], look: {} };
      }
      next++;
      return true;
    };
    return { kernel: replay.kernel, length: events.length + 1, step, told: () => told };
  };
}

/** Whether any of these bytes is a reference as lackey writes it. */
export function hasReferences(bytes: Uint8Array): boolean {
  const lines = new LackeyLines(new BatchWriter(new ReferenceBatch(), (batch) => batch));
  lines.feed(bytes);
  return lines.references > 0;
}

/**
 * Reads a trace of lackey; a step is a load, a store or a fetch in one page.
 * @throws InputFileError when it has more references than a page can hold
 */
export function openLackey(name: string, bytes: Uint8Array): () => Begun {
  const kinds: number[] = [];
  const addresses: number[] = [];
  const writer = new BatchWriter(new ReferenceBatch(), (batch) => {
    for (let i = 0; i < batch.length && kinds.length < REFERENCES_MAX; i++) {
      kinds.push(batch.kinds[i] & ~KIND_CONTINUES);
      addresses.push(batch.addresses[i]);
    }
    return batch;
  });
  const lines = new LackeyLines(writer);
  lines.feed(bytes);
  lines.end();
  if (lines.references > REFERENCES_MAX) {
    const most = `has ${lines.references} references; a page takes ${REFERENCES_MAX} (mmulab replay --lackey has no limit)`;
    throw new InputFileError(name, 0, most);
  }
  const { odd, firstOdd } = lines;
  const isOne = odd === 1;
  const unused = `${isOne ? "1 line is no reference" : `${odd} lines are no references`} and no message of valgrind, ${isOne ? "" : "the first "}at line ${firstOdd}`;
  const begin = beginOf(name, `References of valgrind's lackey: ${lines.references}.`, odd === 0 ? [] : [unused]);
  return () => beginReferences(kinds, addresses, begin);
}

/** What is told before the first step: what the file is, and which of its lines are not used. */
function beginOf(title: string, text: string, unused: readonly string[]): Told {
  return { title, text, found: unused.length === 0 ? "" : `Not used: ${unused.join("; ")}.`, lines: [], look: {} };
}

function beginReferences(kinds: readonly number[], addresses: readonly number[], begin: Told): Begun {
  const kernel = bootKernel({ cpus: 1, memoryBytes: MEMORY_BYTES, preset: PRESET });
  const { cpu, space } = new AddressSpaces(kernel, "4K").enter({ tid: 0, pid: 0, stream: 0 });
  let made = 0;
  const step = (): boolean => {
    if (made >= kinds.length) return false;
    const [kind, la] = [kinds[made] as Access, addresses[made]];
    made++;
    try {
      cpu.touchAs(kind, la);
    } catch (fault) {
      if (!(fault instanceof PageFault)) throw fault;
      if (!space.paging.handleFault(la, kind === ACCESS_STORE))
        throw new NotEnoughMemory("the machine's memory is full");
      cpu.touchAs(kind, la);
    }
    return true;
  };
  const told = (): Told => {
    if (made === 0) return begin;
    const [title, address] = [VERBS[kinds[made - 1]], addresses[made - 1]];
    return { title, text: "", found: formatLinearAddress(address), lines: [], look: { address, cpu: 0 } };
  };
  return { kernel, length: kinds.length, step, told };
}
