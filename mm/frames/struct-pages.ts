/** What the kernel reads and writes in the `struct page` of a frame, but for the page allocator itself. */
import type { PageAllocator } from "./page-allocator.ts";

/** The current CPU uses the `struct page` of a frame: its counts, flags or links. */
export function usePage(pages: PageAllocator, frame: number): void {
  pages.lines?.use(pages.zoneOf(frame), frame);
}

/** Whether a frame is on an LRU list (`PG_lru`). */
export function isOnLru(pages: PageAllocator, frame: number): boolean {
  const zone = pages.zoneOf(frame);
  return zone.onLru[frame - zone.startFrame] !== 0;
}

/** Notes that a frame is on an LRU list, or is not. */
export function setOnLru(pages: PageAllocator, frame: number, isOn: boolean): void {
  const zone = pages.zoneOf(frame);
  zone.onLru[frame - zone.startFrame] = isOn ? 1 : 0;
}
