/**
 * What filling a page of 4 KiB with zeros takes (`clear_page`: REP STOSB or REP STOSQ), by where its lines are. From memory it is paced by what one core
 * can write there, as lines that were filled before are written back meanwhile.
 */
import { allTakenOver, assumed, cycles, measured, takenOver } from "./figure.ts";
import type { CostProfile } from "./preset.ts";

/** The part of a part's costs that is in this file. */
export type ZeroingCosts = Pick<CostProfile, "zeroPage" | "zeroPageLastLevel" | "zeroPageMemory" | "zeroPageNext">;

const BROADWELL_LAST_LEVEL = measured(
  "Arora, LKML 14 October 2020 (add clear_page_nt()), on a Xeon E5-2630 v4 at 2.2 GHz: REP STOSB of 16 MiB at 17.35 GB/s, 236 ns a page",
);
const BROADWELL_MEMORY = measured(
  "Arora, LKML 14 October 2020 (add clear_page_nt()), on a Xeon E5-2630 v4: REP STOSB of 4 GiB at 5.41 GB/s, 757 ns a page",
);
const ICELAKE_MEMORY = measured(
  "Arora, LKML 6 June 2022 (v3, add clear_pages()), on a Xeon Platinum 8358: clear_page_erms at 9.21 bytes a ns, 445 ns a page",
);
const MILAN_MEMORY = measured(
  "Arora, Linux commit cb431accb36e, on a Milan: 13.7 GB/s of pages one after the other, 298 ns a page",
);
const EPYC = "an EPYC of model 17 in a virtual machine (test/silicon/zen4): REP STOSB";
/** Intel's streamer stops at 4 KiB, so that no page is foreseen. */
const AS_NEXT = assumed("as the next page: Intel's streamer does not go on in the next 4 KiB (optimization manual)");

/** Skylake. */
export const SKYLAKE_ZEROING: ZeroingCosts = {
  zeroPage: cycles(128, assumed("4096 bytes at 32 a cycle")),
  zeroPageLastLevel: cycles(520, takenOver(BROADWELL_LAST_LEVEL, "Broadwell")),
  zeroPageMemory: cycles(1157, AS_NEXT),
  zeroPageNext: cycles(1157, takenOver(ICELAKE_MEMORY, "Ice Lake")),
};

/** Ice Lake. */
export const ICELAKE_ZEROING: ZeroingCosts = {
  ...allTakenOver(SKYLAKE_ZEROING, "Skylake"),
  zeroPageMemory: cycles(1023, AS_NEXT),
  zeroPageNext: cycles(1023, ICELAKE_MEMORY),
};

/** Sapphire Rapids. */
export const SAPPHIRE_RAPIDS_ZEROING: ZeroingCosts = {
  ...allTakenOver(SKYLAKE_ZEROING, "Skylake"),
  zeroPageMemory: cycles(890, AS_NEXT),
  zeroPageNext: cycles(890, takenOver(ICELAKE_MEMORY, "Ice Lake")),
};

/** Granite Rapids. */
export const GRANITE_RAPIDS_ZEROING: ZeroingCosts = allTakenOver(ICELAKE_ZEROING, "Ice Lake");

/** Haswell. */
export const HASWELL_ZEROING: ZeroingCosts = {
  ...allTakenOver(SKYLAKE_ZEROING, "Skylake"),
  zeroPageMemory: cycles(1968, AS_NEXT),
  zeroPageNext: cycles(1968, takenOver(BROADWELL_MEMORY, "Broadwell")),
};

/** Ivy Bridge. */
export const IVY_BRIDGE_ZEROING: ZeroingCosts = {
  ...HASWELL_ZEROING,
  zeroPageMemory: cycles(1741, AS_NEXT),
  zeroPageNext: cycles(1741, takenOver(BROADWELL_MEMORY, "Broadwell")),
};

/** Zen 4. */
export const ZEN4_ZEROING: ZeroingCosts = {
  zeroPage: cycles(145, measured(`${EPYC} of 32 to 128 pages in turn 141 to 150 cycles; of one page 131`)),
  zeroPageLastLevel: cycles(200, measured(`${EPYC} of 768 to 2048 pages in turn 193 to 219 cycles`)),
  zeroPageMemory: cycles(
    1380,
    measured(`${EPYC} of pages in any other order than upwards 1110 cycles, and 270 for lines that are written back`),
  ),
  zeroPageNext: cycles(640, measured(`${EPYC} of 131072 pages upwards 640 cycles`)),
};

const AS_ZEN4 = allTakenOver(ZEN4_ZEROING, "Zen 4");

/** Zen 3. */
export const ZEN3_ZEROING: ZeroingCosts = {
  ...AS_ZEN4,
  zeroPageMemory: cycles(1270, takenOver(measured("1380 cycles there, 374 ns"), "Zen 4")),
  zeroPageNext: cycles(1013, MILAN_MEMORY),
};

/** Zen 2. */
export const ZEN2_ZEROING: ZeroingCosts = allTakenOver(ZEN3_ZEROING, "Zen 3");
