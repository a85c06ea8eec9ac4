export type { VmallocEvents } from "./vmalloc-events.ts";
export type * from "./vmalloc-snapshot.ts";
