/** Notes what happens inside vmalloc in the form that a recording's event lines have. */
import type { EventLoop, Thread } from "../../arch/index.ts";
import { addFields, observeEach, type VmallocEvents } from "../../mm/index.ts";
import type { RecordedEvent } from "./recorded-event.ts";

/** Events with their fields in the recording's order; `take` hands them over. */
export class EventRecorder {
  /** To be told of the events. */
  readonly observer: VmallocEvents;
  private readonly loop: EventLoop;
  private readonly caller: () => Thread | null;
  private events: RecordedEvent[] = [];

  /**
   * @param loop tells which CPU and thread act
   * @param caller the thread that makes the calls; events of any other are marked `"ctx":"other"`
   */
  constructor(loop: EventLoop, caller: () => Thread | null) {
    this.loop = loop;
    this.caller = caller;
    this.observer = observeEach((_hook, { name, fields }) => (...values) => {
      const event: Record<string, string | number> & { ev: string } = { ev: name };
      addFields(event, fields, values);
      this.add(event);
    });
  }

  /** The events since the last `take`. */
  take(): RecordedEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  private add(event: Record<string, string | number> & { ev: string }): void {
    if (this.loop.currentThread !== this.caller()) event.ctx = "other";
    if (this.loop.currentCpu !== 0) event.on_cpu = this.loop.currentCpu;
    this.events.push(event);
  }
}
