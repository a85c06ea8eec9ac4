/** Bugs of concurrency planted in slab caches. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_SLAB_RACES: readonly PlantedRace[] = [
  {
    name: "get_partial_node does not look again whether there is a slab once it has n->list_lock",
    file: "mm/slab/kmem-cache.ts",
    search: "    if (first === 0) return 0;\n",
    replacement: "",
  },
  {
    name: "get_partial_node counts the node's slabs before it has n->list_lock",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    this.listLocks[node].aboutToTake();\n    const taken = Math.min(this.nrPartial[node], 2 + (this.cpuPartialSlabs >> 1));",
    replacement:
      "    const taken = Math.min(this.nrPartial[node], 2 + (this.cpuPartialSlabs >> 1));\n    this.listLocks[node].aboutToTake();",
  },
  {
    name: "get_partial_node reads the head of the list before it has n->list_lock",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    this.listLocks[node].aboutToTake();\n    const taken = Math.min(this.nrPartial[node], 2 + (this.cpuPartialSlabs >> 1));\n    this.holdListLock(node, taken);\n    const first = this.nodeHead[node];",
    replacement:
      "    const first = this.nodeHead[node];\n    this.listLocks[node].aboutToTake();\n    const taken = Math.min(this.nrPartial[node], 2 + (this.cpuPartialSlabs >> 1));\n    this.holdListLock(node, taken);",
  },
  {
    name: "__slab_free decides before it has n->list_lock whether a slab goes back",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n    // Others may have changed the slab meanwhile: then the exchange fails and is tried again.\n    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n    const goesBack = this.becomesEmpty(slab) && isOfNode && this.nrPartial[this.node[slab]] >= this.minPartial;\n",
    replacement:
      "    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n    const goesBack = this.becomesEmpty(slab) && isOfNode && this.nrPartial[this.node[slab]] >= this.minPartial;\n    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n",
  },
  {
    name: "__slab_free looks before it has n->list_lock where the slab is",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n    // Others may have changed the slab meanwhile: then the exchange fails and is tried again.\n    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n",
    replacement:
      "    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n",
  },
  {
    name: "__slab_free looks before it has n->list_lock whether the node has enough slabs",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n    // Others may have changed the slab meanwhile: then the exchange fails and is tried again.\n    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n    const goesBack = this.becomesEmpty(slab) && isOfNode && this.nrPartial[this.node[slab]] >= this.minPartial;\n",
    replacement:
      "    const many = this.nrPartial[this.node[slab]] >= this.minPartial;\n    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();\n    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;\n    const goesBack = this.becomesEmpty(slab) && isOfNode && many;\n",
  },
  {
    name: "put_cpu_partial loses the slabs that it takes off the CPU's list",
    file: "mm/slab/kmem-cache.ts",
    search: "    if (drains) this.__putPartials(first);\n",
    replacement: "",
  },
  {
    name: "__put_partials writes back a count that it read before it had n->list_lock",
    file: "mm/slab/kmem-cache.ts",
    search: "      this.listLocks[node].aboutToTake();\n      let moved = 0;",
    replacement:
      "      const count = this.nrPartial[node];\n      this.listLocks[node].aboutToTake();\n      this.nrPartial[node] = count;\n      let moved = 0;",
  },
  {
    name: "__put_partials reads a slab's link once the slab is on the node's list",
    file: "mm/slab/kmem-cache.ts",
    search: "        const following = this.next[slab];\n        if (this.inuse[slab] === 0",
    replacement:
      "        let following = this.next[slab];\n        if (this.inuse[slab] !== 0) { this.addPartial(slab); following = this.next[slab]; } else if (this.inuse[slab] === 0",
  },
  {
    name: "get_freelist leaves on the slab's list what it takes",
    file: "mm/slab/kmem-cache.ts",
    search:
      "    const freelist = this.slabFreelist[slab];\n    this.slabFreelist[slab] = 0;\n    if (freelist !== 0) {",
    replacement: "    const freelist = this.slabFreelist[slab];\n    if (freelist !== 0) {",
  },
];
