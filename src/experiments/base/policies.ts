/** The parameter of experiments that names flush policies: those that come with the program, and files of one's own. */
import { ALL_FLUSH_POLICIES, type FlushPolicy } from "../../../mm/index.ts";
import type { ParameterReader } from "../../input/parameter-reader.ts";
import type { ParameterSpec } from "../../input/parameters.ts";
import { OWN_POLICIES, policyNamed } from "../../settings/machine-settings.ts";

const NAME = "policies";

/** The parameter. @param initial names of policies by default */
export function policiesParameter(initial: readonly string[], summary = "flush policies"): ParameterSpec {
  return {
    name: NAME,
    kind: "words",
    words: ALL_FLUSH_POLICIES.map(({ name }) => name),
    accepts: (word) => OWN_POLICIES.find(word) !== undefined,
    default: initial,
    summary: `${summary}; or a FILE.ts of one's own`,
  };
}

/** The policies that it names. */
export function policiesOf(parameters: ParameterReader): FlushPolicy[] {
  return parameters.words(NAME).map(policyNamed);
}
