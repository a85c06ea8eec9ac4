/** Several observers of vmalloc at a time. */
import { NO_EVENTS, type VmallocEvents } from "../../mm/kernel/vmalloc-events.ts";

type Hook = (...values: unknown[]) => void;

/** An observer that tells each of `observers`, in order. */
export function teeEvents(observers: readonly VmallocEvents[]): VmallocEvents {
  const tee: Record<string, Hook> = {};
  for (const name of Object.keys(NO_EVENTS)) {
    const key = name as keyof VmallocEvents;
    tee[name] = (...values) => {
      for (const observer of observers) (observer[key] as Hook).apply(observer, values);
    };
  }
  return tee as unknown as VmallocEvents;
}
