/** All of `mmulab/arch`, for code that is written in the page: named here, it is loaded with that code and not with the page. */
export * from "../../../../arch/index.ts";
