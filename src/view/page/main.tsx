/** The page: it shows pictures of the machine that runs in a worker, and sends it the moves that one makes. */
import { render } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Picture } from "../model/picture.ts";
import { Controls, onKey } from "./controls.tsx";
import { Costs } from "./costs.tsx";
import { OwnCode } from "./editor.tsx";
import { Space } from "./space.tsx";
import { before, editing, openFile, openLink, picture, problem } from "./store.ts";
import { Tables } from "./tables.tsx";
import { Time } from "./time.tsx";
import { Tlbs } from "./tlbs.tsx";

function Page() {
  const shown = picture.value;
  return (
    <>
      <Controls picture={shown} />
      <main>
        {problem.value === "" ? null : (
          <p class="problem" role="alert">
            {problem.value}
          </p>
        )}
        {shown === null ? <p>The machine boots…</p> : null}
        {shown === null || shown.stoppedAt === null ? null : (
          <p class="stopped" role="status">
            Stopped at {shown.stoppedAt}
          </p>
        )}
        {editing.value ? <OwnCode scenario={shown?.scenario} /> : null}
        {shown !== null && (shown.scenario.kind === "story" || shown.told !== null) ? <Telling shown={shown} /> : null}
        {shown === null ? null : (
          <div class="views">
            <Space picture={shown} />
            <Tables picture={shown} />
            <Tlbs picture={shown} />
            <Time picture={shown} />
            <Costs picture={shown} />
          </div>
        )}
        {shown === null || shown.log.length === 0 ? null : (
          <section class="view" aria-labelledby="log-title">
            <h2 id="log-title">Kernel log</h2>
            <Log picture={shown} />
          </section>
        )}
      </main>
    </>
  );
}

/** What the kernel has said, what is new of it marked. */
function Log({ picture: { log, logCount } }: { readonly picture: Picture }) {
  const fresh = before.value === null ? 0 : Math.min(log.length, logCount - before.value.logCount);
  const old = log.slice(0, log.length - fresh).join("\n");
  return (
    <pre>
      {old}
      {fresh > 0 ? <mark>{`${old === "" ? "" : "\n"}${log.slice(log.length - fresh).join("\n")}`}</mark> : null}
    </pre>
  );
}

/** What the story says at this step. */
function Telling({ shown }: { readonly shown: Picture }) {
  const { told, scenario } = shown;
  const story = shown.catalogue.stories.find((each) => each.name === scenario.name);
  // As high as the highest of its steps that were shown: what is below does not jump from step to step.
  const section = useRef<HTMLElement>(null);
  const highest = useRef({ name: "", pixels: 0 });
  useLayoutEffect(() => {
    const { current } = section;
    if (current === null) return;
    if (highest.current.name !== scenario.name) highest.current = { name: scenario.name, pixels: 0 };
    current.style.minHeight = "";
    highest.current.pixels = Math.max(highest.current.pixels, current.offsetHeight);
    current.style.minHeight = `${highest.current.pixels}px`;
  }, [shown]);
  return (
    <section class="story" ref={section} aria-labelledby="story-title" aria-live="polite">
      <h2 id="story-title">{told === null ? story?.title : `${shown.position}. ${told.title}`}</h2>
      <p>{told === null ? `${story?.summary} Press Next, or the right arrow key.` : told.text}</p>
      {told === null ? null : <p class="found">{told.found}</p>}
      {told === null || told.lines.length === 0 ? null : <pre class="lines">{told.lines.join("\n")}</pre>}
    </section>
  );
}

addEventListener("keydown", onKey);
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [dropped] = event.dataTransfer?.files ?? [];
  if (dropped !== undefined) openFile(dropped);
});
addEventListener("hashchange", openLink);
const place = document.getElementById("page");
if (place !== null) render(<Page />, place);
openLink();
