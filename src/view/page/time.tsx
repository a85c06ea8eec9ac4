/** Time: a track a CPU, with interrupts as arrows, and the events of vmalloc. */
import type { Picture } from "../model/picture.ts";
import { Rows } from "./rows.tsx";
import { Scroll } from "./scroll.tsx";
import { move } from "./store.ts";
import { Tracks } from "./tracks.tsx";
import { count } from "./words.ts";

const EVENTS_SHOWN = 120;

/** The view. */
export function Time({ picture }: { readonly picture: Picture }) {
  return (
    <section class="view" id="time" aria-labelledby="time-title">
      <h2 id="time-title">Time</h2>
      <Tracks picture={picture} />
      <Legend />
      <Events picture={picture} />
    </section>
  );
}

/** Which colour is what. */
function Legend() {
  return (
    <ul class="legend" aria-label="Activities">
      <li>
        <span class="swatch kind-vmalloc" /> kernel code
      </li>
      <li>
        <span class="swatch swatch-wait" /> waiting: lock, IPI
      </li>
      <li>
        <span class="swatch swatch-stale" /> IPI send, handler, TLB flush
      </li>
      <li>
        <span class="swatch kind-other" /> context switch
      </li>
      <li>
        <span class="swatch swatch-step" /> this step
      </li>
    </ul>
  );
}

/** The latest events, the last first; one goes to where they happened. */
function Events({ picture }: { readonly picture: Picture }) {
  const { events, eventCount, position, frequencyGhz } = picture;
  return (
    <Scroll label="Events of vmalloc">
      <table>
        <thead>
          <tr>
            <th scope="col">step</th>
            <th scope="col">µs</th>
            <th scope="col">CPU</th>
            <th scope="col">event</th>
          </tr>
        </thead>
        <Rows
          of={events.slice(-EVENTS_SHOWN).reverse()}
          row={(event, i) => (
            <tr key={eventCount - i} class={event.position === position ? "new" : ""}>
              <td>
                <button
                  type="button"
                  class="address"
                  aria-current={event.position === position}
                  onClick={() => move({ kind: "go", position: event.position })}
                >
                  {event.position}
                </button>
              </td>
              <td>{(event.atCycles / frequencyGhz / 1000).toFixed(2)}</td>
              <td>{event.cpu}</td>
              <td>
                <strong>{event.name}</strong> {event.text}
              </td>
            </tr>
          )}
        />
      </table>
      {eventCount > EVENTS_SHOWN ? <p>{count(eventCount - EVENTS_SHOWN)} earlier events are not listed.</p> : null}
    </Scroll>
  );
}
