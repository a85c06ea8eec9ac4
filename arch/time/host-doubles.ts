/**
 * For the host's sake: V8 gives a field the representation of what is first stored there. One that begins with the integer 0 and
 * later gets a time or an address changes the shape of its object, and all code that V8 had compiled for the old shape is
 * thrown away, often while it is hot.
 */

/** 0 for a field that will hold cycles: a double from the start, equal to 0 in every sum and comparison. */
export const ZERO_CYCLES = -0;
/** For a field that will hold an address, before there is one: a double, equal to no address. */
export const NO_ADDRESS = Number.NaN;
