/** The tests that come with the explorer. */
import { unknownName } from "../../input/errors.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { ATTRIBUTE_TESTS } from "./attributes.ts";
import { EXECUTABLE_MEMORY_TESTS } from "./executable-memory.ts";
import { FORK_TESTS } from "./forks.ts";
import { GLOBAL_ASID_TESTS } from "./global-asids.ts";
import { GUEST_TESTS } from "./guests.ts";
import { HOST_MEMORY_TESTS } from "./host-memory.ts";
import { MEMORY_TESTS } from "./memory.ts";
import { MREMAP_TESTS } from "./mremap.ts";
import { PORTION_TESTS } from "./portions.ts";
import { PURGE_TESTS } from "./purges.ts";
import { SLAB_TESTS } from "./slabs.ts";
import { USER_FLUSH_TESTS } from "./user-flushes.ts";
import { USER_SPACE_TESTS } from "./user-spaces.ts";
import { VERSION_TESTS } from "./versions.ts";
import { VMALLOC_TESTS } from "./vmalloc.ts";
import { VMAP_BLOCK_TESTS } from "./vmap-blocks.ts";

/** All of them. */
export const EXPLORE_TESTS: readonly ExploreTest[] = [
  ...VMALLOC_TESTS,
  ...PURGE_TESTS,
  ...VMAP_BLOCK_TESTS,
  ...USER_SPACE_TESTS,
  ...USER_FLUSH_TESTS,
  ...GLOBAL_ASID_TESTS,
  ...MREMAP_TESTS,
  ...PORTION_TESTS,
  ...FORK_TESTS,
  ...GUEST_TESTS,
  ...HOST_MEMORY_TESTS,
  ...VERSION_TESTS,
  ...ATTRIBUTE_TESTS,
  ...EXECUTABLE_MEMORY_TESTS,
  ...SLAB_TESTS,
  ...MEMORY_TESTS,
];

/** @throws UnknownNameError for a name that no test has */
export function exploreTestByName(name: string): ExploreTest {
  const found = EXPLORE_TESTS.find((test) => test.name === name);
  if (found !== undefined) return found;
  throw unknownName(
    "test",
    name,
    EXPLORE_TESTS.map((test) => test.name),
  );
}
