/** Code of one's own: a workload in TypeScript. The editor itself is loaded when it is first wanted. */
import { useEffect, useRef } from "preact/hooks";
import type { Scenario } from "../model/scenario.ts";
import { askForCompletions, completions, editing, openSource, problem } from "./store.ts";

/** What one begins with. */
export const EXAMPLE = `import type { WorkloadThread } from "mmulab";

/** One thread runs on each CPU. Calls of the kernel are made with yield*. */
export default function* (thread: WorkloadThread) {
  for (let i = 0; i < thread.operations; i++) {
    const address = yield* thread.vmalloc(4096 * (1 + (i % 4)));
    if (address === 0) continue;
    thread.store(address, i);
    thread.expect(address, i);
    yield* thread.vfree(address);
  }
}
`;

/** What the editor can be asked, once it is there. */
interface Editor {
  source(): string;
  replace(source: string): void;
  mark(line: number | null, message: string): void;
}

/** The panel with the editor. */
export function OwnCode({ scenario }: { readonly scenario: Scenario | undefined }) {
  const place = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | null>(null);
  const shown = scenario?.kind === "source" ? scenario.source : null;
  // The editor comes later than the page, which may show something else by then.
  const latest = useRef(shown);
  latest.current = shown;
  useEffect(() => {
    let isHere = true;
    askForCompletions();
    const { current } = place;
    if (current === null) return;
    import("./code-editor.ts").then(({ openEditor }) => {
      if (isHere) editor.current = openEditor(current, latest.current ?? EXAMPLE, run, () => completions.value);
    });
    return () => {
      isHere = false;
    };
  }, []);
  useEffect(() => {
    if (shown !== null && editor.current !== null && editor.current.source() !== shown) editor.current.replace(shown);
  }, [shown]);
  const message = problem.value;
  useEffect(() => {
    const line = /\(line (\d+)\)$/.exec(message);
    editor.current?.mark(line === null ? null : Number(line[1]), message);
  }, [message]);
  const run = (): void => openSource(editor.current?.source() ?? EXAMPLE);
  return (
    <section class="view own" aria-labelledby="own-title">
      <div class="row">
        <h2 id="own-title">Own code</h2>
        <button type="button" class="primary" onClick={run}>
          Run
        </button>
        <button
          type="button"
          onClick={() => {
            editing.value = false;
          }}
        >
          Close
        </button>
        <small>
          a generator, run as a thread on each CPU; Ctrl-Enter runs it, Escape then Tab leaves the editor. The link
          holds the code.
        </small>
      </div>
      <div class="editor" ref={place} />
    </section>
  );
}
