import { describe } from "vitest";
import { VM_ALLOC, VMAP_RAM, type VmapAreas } from "../../../mm/index.ts";
import { busyArea, caught, shown, vmAt } from "./verify-state.ts";

const PAGE = 4096;

/** A field of areas that only the trees and lists themselves write. */
type Field = "blackOf" | "parentOf" | "previousOf" | "subtreeMaxSizeOf";

/** Makes one area's field read as another value, however areas are stored. */
function misreport(areas: VmapAreas, field: Field, area: number, value: number): void {
  const read = areas[field].bind(areas);
  areas[field] = (asked) => (asked === area ? value : read(asked));
}

describe("verify finds what is wrong with trees and lists", () => {
  caught([
    [
      "a node of the wrong colour",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        const leaf = areas.nextOf(freeTree.head);
        misreport(areas, "blackOf", leaf, 1 - areas.blackOf(leaf));
        return "free tree: ";
      },
    ],
    [
      "a red root",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        misreport(areas, "blackOf", freeTree.root, 0);
        return `the root ${shown(areas.startOf(freeTree.root))}`;
      },
    ],
    [
      "a wrong subtreeMaxSize",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        misreport(areas, "subtreeMaxSizeOf", freeTree.root, PAGE);
        return `subtreeMaxSize of ${shown(areas.startOf(freeTree.root))}`;
      },
    ],
    [
      "a wrong parent link",
      ({ kernel, small }) => {
        const { areas } = kernel.vm;
        const area = busyArea(kernel, small);
        misreport(areas, "parentOf", area, area);
        return `${shown(small)}-${shown(small + 4 * PAGE)} does not point to its parent`;
      },
    ],
    [
      "a wrong backward link of a list",
      ({ kernel, small }) => {
        const { areas } = kernel.vm;
        misreport(areas, "previousOf", busyArea(kernel, small), 1);
        return `${shown(small)}-${shown(small + 4 * PAGE)} does not point back`;
      },
    ],
    [
      "an area missing from its tree's list",
      ({ kernel, small }) => {
        kernel.vm.areas.listRemove(busyArea(kernel, small));
        return "in the tree, ";
      },
    ],
    [
      "two gaps that touch",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        const gap = areas.nextOf(freeTree.head);
        const middle = areas.startOf(gap) + PAGE;
        const upper = areas.make(middle, areas.endOf(gap));
        areas.setEnd(gap, middle);
        freeTree.augmentTreePropagateFrom(gap);
        freeTree.insertVmapArea(upper);
        return "touch and were not merged";
      },
    ],
  ]);
});

describe("verify finds what is wrong with the places of areas", () => {
  caught([
    [
      "an area that is nowhere",
      ({ kernel }) => {
        kernel.vm.areas.make(PAGE, 2 * PAGE);
        return "areas are in use, but";
      },
    ],
    [
      "a range that belongs to nobody",
      ({ kernel, small }) => {
        const area = busyArea(kernel, small);
        kernel.vm.nodes[kernel.vm.addrToNode(small).id].busy.unlinkVa(area);
        kernel.vm.areas.release(area);
        return `${shown(small)}-${shown(small + 4 * PAGE)} belongs to nobody`;
      },
    ],
    [
      "a start that the table does not know",
      ({ kernel, small }) => {
        const node = kernel.vm.addrToNode(small);
        const area = busyArea(kernel, small);
        node.busy.findStart = (start) => (start === small ? 0 : area);
        return `the table of starts of node ${node.id} does not name ${shown(small)}`;
      },
    ],
    [
      "areas that overlap",
      ({ kernel, small }) => {
        kernel.vm.areas.setEnd(busyArea(kernel, small), small + 5 * PAGE);
        return `overlaps with busy area ${shown(small)}-${shown(small + 5 * PAGE)}`;
      },
    ],
    [
      "a busy area in another node",
      ({ kernel, small }) => {
        const { nodes, areas } = kernel.vm;
        const area = busyArea(kernel, small);
        const home = kernel.vm.addrToNode(small).id;
        nodes[home].busy.unlinkVa(area);
        nodes[(home + 1) % 4].busy.insertVmapArea(area);
        return `busy area ${shown(areas.startOf(area))}-${shown(areas.endOf(area))} is in node`;
      },
    ],
    [
      "a lazily freed area in another node",
      ({ kernel, lazy }) => {
        const { nodes } = kernel.vm;
        const from = nodes.findIndex((node) => node.lazy.tree.__findVmapArea(lazy) !== 0);
        const area = nodes[from].lazy.tree.__findVmapArea(lazy);
        nodes[from].lazy.tree.unlinkVa(area);
        nodes[(from + 1) % 4].lazy.tree.insertVmapArea(area);
        return `lazily freed area ${shown(lazy)}`;
      },
    ],
    [
      "a lazily freed area that still has a vm_struct",
      ({ kernel, lazy }) => {
        for (const node of kernel.vm.nodes) {
          const area = node.lazy.tree.__findVmapArea(lazy);
          if (area !== 0) kernel.vm.areas.setVm(area, 1);
        }
        return `${shown(lazy)}-${shown(lazy + 3 * PAGE)} still has a vm_struct`;
      },
    ],
    [
      "an area with neither a vm_struct nor VMAP_RAM",
      ({ kernel, whole }) => {
        const area = busyArea(kernel, whole);
        kernel.vm.areas.setFlags(area, kernel.vm.areas.flagsOf(area) & ~VMAP_RAM);
        return `${shown(whole)}-${shown(whole + 100 * PAGE)} has neither a vm_struct nor VMAP_RAM`;
      },
    ],
    [
      "vm_map_ram flags on an area with a vm_struct",
      ({ kernel, small }) => {
        const area = busyArea(kernel, small);
        kernel.vm.areas.setFlags(area, kernel.vm.areas.flagsOf(area) | VMAP_RAM);
        return `${shown(small)}-${shown(small + 4 * PAGE)} has a vm_struct and vm_map_ram flags`;
      },
    ],
    [
      "a wrong lazyNr",
      ({ kernel }) => {
        kernel.vm.lazyNr++;
        return `lazyNr is ${kernel.vm.lazyNr} pages`;
      },
    ],
    [
      "a wrong pool length",
      ({ kernel }) => {
        kernel.vm.nodes[0].addToPoolLength(1, -1);
        return "pool 1 of node 0 holds 3 areas, but its length says 2";
      },
    ],
    [
      "an area in the pool of another size",
      ({ kernel, pooled }) => {
        const { areas, nodes } = kernel.vm;
        let area = areas.nextOf(nodes[0].poolHead(1));
        while (areas.startOf(area) !== pooled) area = areas.nextOf(area);
        areas.listRemove(area);
        areas.listAddAfter(area, nodes[0].poolHead(4));
        nodes[0].addToPoolLength(1, -1);
        nodes[0].addToPoolLength(4, 1);
        return `pool 4 of node 0 holds ${shown(pooled)}`;
      },
    ],
    [
      "an area in the pool of another node",
      ({ kernel, pooled }) => {
        const { areas, nodes } = kernel.vm;
        let area = areas.nextOf(nodes[0].poolHead(1));
        while (areas.startOf(area) !== pooled) area = areas.nextOf(area);
        areas.listRemove(area);
        areas.listAddAfter(area, nodes[2].poolHead(1));
        nodes[0].addToPoolLength(1, -1);
        nodes[2].addToPoolLength(1, 1);
        return `pool 1 of node 2 holds ${shown(pooled)}-${shown(pooled + 2 * PAGE)}, which carries the id of node 0`;
      },
    ],
    [
      "a lock that was not released",
      ({ kernel }) => {
        kernel.run(kernel.vm.nodes[2].lazyLock.take());
        return "vn->lazy.lock is held";
      },
    ],
  ]);
});

describe("verify finds what is wrong with vm_structs", () => {
  caught([
    [
      "a vm_struct that nobody has",
      ({ kernel }) => {
        kernel.vm.vms.make(VM_ALLOC, PAGE, "");
        return "vm_structs are in use, but";
      },
    ],
    [
      "a vm_struct with two areas",
      ({ kernel, small, other }) => {
        kernel.vm.areas.setVm(busyArea(kernel, other), vmAt(kernel, small));
        return "have the same vm_struct";
      },
    ],
    [
      "a vm_struct with another address than its area",
      ({ kernel, small }) => {
        kernel.vm.vms.addr[vmAt(kernel, small)] += PAGE;
        return `the vm_struct of ${shown(small)}`;
      },
    ],
    [
      "a vm_struct with another size than its area",
      ({ kernel, small }) => {
        kernel.vm.vms.sizeBytes[vmAt(kernel, small)] += PAGE;
        return `the vm_struct of ${shown(small)}-${shown(small + 4 * PAGE)} says ${shown(small)} and ${5 * PAGE} bytes`;
      },
    ],
    [
      "a wrong number of vmalloc pages",
      ({ kernel }) => {
        kernel.vm.nrVmallocPages -= 3;
        return `nrVmallocPages is ${kernel.vm.nrVmallocPages}`;
      },
    ],
    [
      "an array of frames that leaked",
      ({ kernel }) => {
        kernel.vm.pageArrays.take(4);
        return "of the page arrays leaked";
      },
    ],
    [
      "an array of frames given back twice",
      ({ kernel, small }) => {
        kernel.vm.pageArrays.giveBack(kernel.vm.vms.pages[2 * vmAt(kernel, small)], 3);
        return "of the page arrays belongs to";
      },
    ],
    [
      "page pointers where nothing is",
      ({ kernel, large }) => {
        const { vms } = kernel.vm;
        const vm = vmAt(kernel, large);
        vms.setPagesAddr(vm, vms.pagesAddrOf(vm) + 2 ** 40);
        return "where no vmalloc'ed area is";
      },
    ],
  ]);
});
