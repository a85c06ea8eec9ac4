/** Where records that many CPUs look at lie in the host's memory, for the host's sake. */

/**
 * The byte of a buffer at which its records begin, so that one of 64 bytes lies in one cache line of the host: a large buffer begins 16 bytes behind
 * the beginning of a page of the host, where the C library (glibc) keeps its size.
 */
export const HOST_LINE_BEGIN_BYTE = 48;
