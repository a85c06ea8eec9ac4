/** Files that the page gives out: the timeline, and the machine's state. */

import { StateError } from "../../../arch/index.ts";
import { REFUSED, stateHeader, stateOf } from "../../state/saved-parts.ts";
import { STATE_CHECKSUM_BYTES } from "../../state/state-kernel.ts";
import type { Session } from "./session.ts";

/** What can be given out beside what the page itself draws. */
export const EXPORTS = ["timeline", "state"] as const;
export type ExportKind = (typeof EXPORTS)[number];

/**
 * The bytes of a file.
 * @throws StateError for the state of a machine on which something is under way
 */
export async function exportFile(kind: ExportKind, session: Session): Promise<Uint8Array> {
  return kind === "timeline" ? new TextEncoder().encode(timelineOf(session)) : stateFile(session);
}

/**
 * What has happened so far, as far as it is kept, in the Chrome trace-event format: a track a CPU, spans one after the other (what was
 * interrupted is two of them), arrows for interrupts, counters. Times are in microseconds, whole nanoseconds.
 */
function timelineOf(session: Session): string {
  const { kernel, tracks, scenario, position } = session;
  const { preset, cpus } = kernel.machine;
  const nsec = (cycles: number): number => Math.round(cycles / preset.frequencyGhz.value);
  const usec = (nanoseconds: number): number => nanoseconds / 1000;
  const pid = 1;
  const events: object[] = [{ ph: "M", name: "process_name", pid, args: { name: scenario.name } }];
  for (const { id } of cpus) {
    events.push({ ph: "M", name: "thread_name", pid, tid: id, args: { name: `CPU ${id}` } });
    events.push({ ph: "M", name: "thread_sort_index", pid, tid: id, args: { sort_index: id } });
  }
  const spans = tracks.spansSince(0, Number.POSITIVE_INFINITY).sort((a, b) => a.fromCycles - b.fromCycles);
  for (const { cpu, activity, fromCycles, toCycles } of spans) {
    const [from, to] = [nsec(fromCycles), nsec(toCycles)];
    if (activity === "idle" || activity === "other" || to === from) continue;
    events.push({ ph: "X", name: activity, pid, tid: cpu, ts: usec(from), dur: usec(to - from) });
  }
  for (const { id, from, to, sentCycles, takenCycles } of tracks.ipis.items) {
    if (takenCycles === null) continue;
    const flow = { name: "IPI", cat: "ipi", id, pid };
    events.push({ ph: "s", ...flow, tid: from, ts: usec(nsec(sentCycles)) });
    events.push({ ph: "f", bp: "e", ...flow, tid: to, ts: usec(nsec(takenCycles)) });
  }
  for (const { atCycles, lazyPages, walks, walkCycles } of tracks.counters.since(
    0,
    position,
    Number.POSITIVE_INFINITY,
  )) {
    const ts = usec(nsec(atCycles));
    events.push({ ph: "C", name: "lazily freed pages", pid, ts, args: { pages: lazyPages } });
    events.push({ ph: "C", name: "page walks", pid, ts, args: { walks, cycles: walkCycles } });
  }
  const about = { displayTimeUnit: "ns", otherData: { source: "mmulab", scenario, position } };
  return `${JSON.stringify(about).slice(0, -1)},"traceEvents":[\n${events.map((event) => JSON.stringify(event)).join(",\n")}\n]}\n`;
}

/** The machine as `mmulab run --save` would write it. */
async function stateFile(session: Session): Promise<Uint8Array> {
  if (crypto.subtle === undefined)
    throw new StateError(REFUSED, "this page was not loaded over https or from this computer");
  const kernel = session.liveKernel();
  const body = await gzip(stateOf(kernel));
  const { scenario, position } = session;
  const header = new TextEncoder().encode(
    stateHeader(kernel, `${scenario.name}, step ${position} of the page`, body.length),
  );
  const file = new Uint8Array(header.length + body.length + STATE_CHECKSUM_BYTES);
  file.set(header);
  file.set(body, header.length);
  const content = file.slice(0, header.length + body.length);
  file.set(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), content.length);
  return file;
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
