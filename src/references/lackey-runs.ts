/** What the module that parses lackey's lines (lackey-module.ts) does for the runs of references to one page (page-runs.ts). */

import { MUST_HIT } from "../../arch/cpu/bulk-touch.ts";
import { ACCESS_FETCH, ACCESS_STORE } from "../../arch/isa/access.ts";
import { signed } from "../../arch/wasm/encoding.ts";
import {
  ADD,
  AND,
  access,
  get,
  I64_AND,
  I64_CONST,
  I64_EQ,
  I64_OF_WORD,
  I64_OR,
  I64_TO_DOUBLE,
  MUL,
  OR,
  SELECT,
  SHL,
  STORE_BYTE,
  STORE_DOUBLE,
  STORE_HALF,
  SUB,
  set,
  tee,
  word,
} from "../../arch/wasm/instructions.ts";
import {
  COUNT,
  DATA_PAGE,
  FETCH,
  FETCH_PAGE,
  FETCHES,
  HEADS,
  IS_LATER_DATA,
  IS_LATER_FETCH,
  IS_REPEAT,
  IS_SAME,
  LA,
  LAYOUT,
  PAGE,
  REPEATED_FETCHES,
  REPEATED_STORES,
  STORE,
} from "./lackey-layout.ts";

const PAGE_BYTES = 4096;

/** Where the next run head goes, but for the offset: its address, its index. */
const headCell = [...get(HEADS), ...word(3), ...SHL];
const headHalf = [...get(HEADS), ...word(1), ...SHL];
const headAddress = [...headCell, ...get(LA), ...I64_TO_DOUBLE, ...access(STORE_DOUBLE, LAYOUT.headAddresses)];

/** is_same, is_repeat = whether the reference is of the page and kind of the last one of its TLB, and that one too was. */
export const findRun = [
  ...get(LA),
  ...I64_CONST,
  ...signed(-PAGE_BYTES),
  ...I64_AND,
  ...get(STORE),
  ...I64_OF_WORD,
  ...I64_OR,
  ...tee(PAGE),
  ...[...get(FETCH_PAGE), ...get(DATA_PAGE), ...get(FETCH), ...SELECT],
  ...I64_EQ,
  ...tee(IS_SAME),
  ...[...get(IS_LATER_FETCH), ...get(IS_LATER_DATA), ...get(FETCH), ...SELECT],
  ...AND,
  ...set(IS_REPEAT),
  ...[...get(PAGE), ...get(FETCH_PAGE), ...get(FETCH), ...SELECT, ...set(FETCH_PAGE)],
  ...[...get(DATA_PAGE), ...get(PAGE), ...get(FETCH), ...SELECT, ...set(DATA_PAGE)],
  ...[...get(IS_SAME), ...get(IS_LATER_FETCH), ...get(FETCH), ...SELECT, ...set(IS_LATER_FETCH)],
  ...[...get(IS_LATER_DATA), ...get(IS_SAME), ...get(FETCH), ...SELECT, ...set(IS_LATER_DATA)],
];

/** The run head, which counts if it is no repeat, and the numbers of repeats. */
export const writeHead = [
  ...headAddress,
  ...headHalf,
  ...get(COUNT),
  ...access(STORE_HALF, LAYOUT.headIndexes),
  ...get(HEADS),
  ...[...get(FETCH), ...word(ACCESS_FETCH), ...MUL, ...get(STORE), ...OR],
  ...[...get(IS_SAME), ...word(MUST_HIT), ...MUL, ...OR],
  ...access(STORE_BYTE, LAYOUT.headKinds),
  ...[...get(HEADS), ...word(1), ...ADD, ...get(IS_REPEAT), ...SUB, ...set(HEADS)],
  ...[...get(FETCHES), ...get(FETCH), ...ADD, ...set(FETCHES)],
  ...[...get(REPEATED_STORES), ...get(IS_REPEAT), ...get(STORE), ...AND, ...ADD, ...set(REPEATED_STORES)],
  ...[...get(REPEATED_FETCHES), ...get(IS_REPEAT), ...get(FETCH), ...AND, ...ADD, ...set(REPEATED_FETCHES)],
];

/** The store of a modification begins a run: the reference before it is a load. */
export const writeSecondHead = [
  ...headAddress,
  ...headHalf,
  ...[...get(COUNT), ...word(1), ...ADD],
  ...access(STORE_HALF, LAYOUT.headIndexes),
  ...get(HEADS),
  ...word(ACCESS_STORE),
  ...access(STORE_BYTE, LAYOUT.headKinds),
  ...[...get(HEADS), ...word(1), ...ADD, ...set(HEADS)],
  ...[...get(DATA_PAGE), ...I64_CONST, ...signed(1), ...I64_OR, ...set(DATA_PAGE)],
  ...[...word(0), ...set(IS_LATER_DATA)],
];
