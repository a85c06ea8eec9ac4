/** Error numbers, as the kernel returns them: negative. */

/** Argument list too long. */
export const E2BIG = 7;
/** Out of memory. */
export const ENOMEM = 12;
/** Bad address. */
export const EFAULT = 14;
/** Device or resource busy. */
export const EBUSY = 16;
/** Invalid argument. */
export const EINVAL = 22;
/** Result out of range. */
export const ERANGE = 34;
