/** The page: it shows pictures of the machine that runs in a worker, and sends it the moves that one makes. */
import { render } from "preact";
import { Controls, onKey } from "./controls.tsx";
import { Space } from "./space.tsx";
import { openLink, picture, problem } from "./store.ts";
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
        {shown?.scenario.kind === "story" ? <Telling name={shown.scenario.name} /> : null}
        {shown === null ? null : (
          <div class="views">
            <Space picture={shown} />
            <Tables picture={shown} />
            <Tlbs picture={shown} />
            <Time picture={shown} />
          </div>
        )}
        {shown === null || shown.log.length === 0 ? null : (
          <section class="view" aria-labelledby="log-title">
            <h2 id="log-title">Kernel log</h2>
            <pre>{shown.log.join("\n")}</pre>
          </section>
        )}
      </main>
    </>
  );
}

/** What the story says at this step. */
function Telling({ name }: { readonly name: string }) {
  const shown = picture.value;
  const told = shown?.told ?? null;
  const story = shown?.catalogue.stories.find((each) => each.name === name);
  return (
    <section class="story" aria-labelledby="story-title" aria-live="polite">
      <h2 id="story-title">{told === null ? story?.title : `${shown?.position}. ${told.title}`}</h2>
      <p>{told === null ? `${story?.summary} Press Next, or the right arrow key.` : told.text}</p>
      {told === null ? null : <p class="found">{told.found}</p>}
    </section>
  );
}

addEventListener("keydown", onKey);
addEventListener("hashchange", openLink);
const place = document.getElementById("page");
if (place !== null) render(<Page />, place);
openLink();
