/** The emulated machine runs here, apart from the page: a question in, an answer out, in order. */
import { Answerer, type Focus, type Move } from "../model/picture.ts";

/** A message to the worker. */
export interface Question {
  readonly id: number;
  readonly move: Move;
  readonly focus: Focus;
}

const answerer = new Answerer(async (file, source) => {
  const { sourceWorkload } = await import("./own-source.ts");
  return sourceWorkload(file, source);
});

addEventListener("message", async ({ data }: MessageEvent<Question | "completions">) => {
  if (data === "completions") {
    const { completions } = await import("./own-source.ts");
    postMessage({ completions: completions() });
    return;
  }
  postMessage({ id: data.id, answer: await answerer.answer(data.move, data.focus) });
});
