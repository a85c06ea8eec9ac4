/** Several observers of vmalloc at a time. */
import { observeEach, type VmallocEvents } from "../../mm/index.ts";

type Hook = (...values: unknown[]) => void;

/** An observer that tells each of `observers`, in order. */
export function teeEvents(observers: readonly VmallocEvents[]): VmallocEvents {
  return observeEach((hook) => (...values) => {
    for (const observer of observers) (observer[hook] as Hook).apply(observer, values);
  });
}
