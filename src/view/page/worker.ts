/** The emulated machine runs here, apart from the page: a question in, an answer out, in order. */
import { Answerer, type Focus, type Move } from "../model/picture.ts";

/** A message to the worker. */
export interface Question {
  readonly id: number;
  readonly move: Move;
  readonly focus: Focus;
}

const answerer = new Answerer();

addEventListener("message", ({ data }: MessageEvent<Question>) => {
  postMessage({ id: data.id, answer: answerer.answer(data.move, data.focus) });
});
