/** A page that TLBs still hold in two sizes, as its tables were changed and not all of it flushed, is found in the smaller one on both paths. */
import { expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";
import { hardwareState, takeGeneralPath } from "./compare.ts";

/** Where a page of 1 GiB is, or 512 of 2 MiB. */
const GIGABYTE = BASE + 2 ** 42;
const LARGE_BYTES = 2 ** 21;
/** Pages of 2 MiB so far apart have one prediction (`LARGE_PREDICTIONS_MASK`). */
const APART = 64;

/** Has the first level hold two pages of 2 MiB, the first of them not predicted, and the page of 1 GiB around them; and loads from the first. */
function loadStale(guest: Guest): void {
  const { cpu } = guest;
  const directory = guest.table();
  guest.write(GIGABYTE, 3, BigInt(directory * 4096 + ALL));
  for (let i = 0; i < 512; i++) guest.map(GIGABYTE + i * LARGE_BYTES, 2 ** 30 + i * LARGE_BYTES, ALL | 0x60, 2);
  for (const page of [0, APART, 0, APART]) cpu.load(GIGABYTE + page * LARGE_BYTES, 4);
  guest.map(GIGABYTE, 2 ** 30, ALL | 0x60, 3);
  cpu.invlpg(GIGABYTE + 500 * LARGE_BYTES);
  for (const page of [300, 301, 0]) cpu.load(GIGABYTE + page * LARGE_BYTES, 4);
}

test.each(PRESETS.map(({ name }) => name))("%s", (preset) => {
  const [quick, general] = [0, 1].map(() => new Guest({ preset, memoryBytes: 2 ** 31 }));
  takeGeneralPath(general);
  for (const guest of [quick, general]) loadStale(guest);
  expect(hardwareState(quick)).toEqual(hardwareState(general));
  expect(quick.cpu.counters()).toEqual(general.cpu.counters());
});
