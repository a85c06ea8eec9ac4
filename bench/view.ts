/** How long does the web page wait for its model? A step back and forward among those that are kept, and pictures of a small and of a large machine. */
import { VM_ALLOC } from "../mm/vmalloc/areas/vm-structs.ts";
import { pictureOf } from "../src/view/model/picture.ts";
import { DEFAULT_SCENARIO } from "../src/view/model/scenario.ts";
import { Session } from "../src/view/model/session.ts";
import type { BenchTask } from "./task.ts";

const FOCUS = { cpu: null, address: null };
/** Steps that are made before anything is measured. */
const STEPS_BEFORE = 2000;
const STEPS = 30;
const LARGE_AREAS = 100_000;

function sessionAt(position: number, cpus: number): Session {
  const session = new Session({ ...DEFAULT_SCENARIO, cpus, operations: 4000 });
  session.goTo(position);
  return session;
}

/** Back by steps of one, each looked at, and forward again. */
const BACK_AND_FORWARD: BenchTask = {
  name: "view_step_back_and_forward",
  operationsPerRun: 2 * STEPS,
  setup() {
    const session = sessionAt(STEPS_BEFORE, 4);
    return () => {
      for (let i = 0; i < STEPS; i++) {
        session.back("step");
        pictureOf(session, FOCUS);
      }
      for (let i = 0; i < STEPS; i++) {
        session.forward("step");
        pictureOf(session, FOCUS);
      }
    };
  },
};

function pictureTask(cpus: number, areas: number): BenchTask {
  return {
    name: `view_picture_${cpus}_cpus_${areas}_more_areas`,
    operationsPerRun: 1,
    setup() {
      const session = sessionAt(STEPS_BEFORE, cpus);
      for (let i = 0; i < areas; i++) session.kernel.getVmArea(4096, VM_ALLOC);
      return () => {
        pictureOf(session, FOCUS);
      };
    },
  };
}

/** Benchmarks of the web page's model. */
export const VIEW_TASKS: readonly BenchTask[] = [BACK_AND_FORWARD, pictureTask(4, 0), pictureTask(64, LARGE_AREAS)];
