/**
 * Returns of kernel code. Where Linux makes them safe by a thunk (`srso_return_thunk`, `srso_alias_return_thunk`, `retbleed_return_thunk`), each
 * is a mispredicted branch, so that what kernel code costs rises by its number of returns. They are counted by the functions that run and that a
 * compiler does not inline.
 */
import type { Preset } from "../../arch/presets/preset.ts";
import { kernelFiguresOf, withKernelCost } from "./kernel-cost-origins.ts";
import { checkKernelCosts, type KernelCosts } from "./kernel-costs.ts";
import { type MitigationMode, returnThunkCycles } from "./mitigations.ts";

/**
 * Functions that return while a cost is paid, of Linux 6.12 without memory cgroups, in words with spaces between; by the cost's name. Assumed:
 * put together from memory of the source, not traced. What is not here has none, or the measurement of its cost has them in it.
 */
export const RETURNING: Readonly<Record<string, string>> = {
  "kernel.lock.uncontendedCycles": "_raw_spin_lock _raw_spin_unlock",
  "kernel.ipi.sendCycles": "__x2apic_send_IPI_mask",
  "kernel.ipi.entryCycles":
    "sysvec_call_function irqentry_enter irq_enter_rcu generic_smp_call_function_interrupt __flush_smp_call_function_queue",
  "kernel.ipi.exitCycles": "irq_exit_rcu irqentry_exit",
  "kernel.flush.callCycles": "flush_tlb_mm_range on_each_cpu_cond_mask",
  "kernel.flush.localCycles": "flush_tlb_func",
  "kernel.pages.listCycles": "alloc_pages_mpol __alloc_pages get_page_from_freelist prep_new_page",
  "kernel.pages.freeBatchCycles": "free_pages_prepare get_pfnblock_flags_mask free_unref_page_commit",
  "kernel.pages.buddyCycles": "__free_one_page",
  "kernel.pages.slabCycles": "kmem_cache_alloc",
  "kernel.pages.tableWalkCycles": "__pte_offset_map_lock __pte_offset_map",
  "kernel.pages.chargeCycles": "__mem_cgroup_charge get_mem_cgroup_from_mm try_charge_memcg",
  "kernel.pages.unchargeCycles": "uncharge_folio",
  "kernel.slab.slowCycles": "___slab_alloc",
  "kernel.user.faultCycles":
    "exc_page_fault irqentry_enter do_user_addr_fault lock_vma_under_rcu mas_walk mtree_range_walk down_read_trylock handle_mm_fault " +
    "__handle_mm_fault pte_mkwrite __pte_offset_map_lock __pte_offset_map percpu_counter_add_batch folio_add_new_anon_rmap " +
    "__lruvec_stat_mod_folio __mod_node_page_state folio_add_lru_vma folio_add_lru up_read irqentry_exit",
  "kernel.user.readFaultCycles":
    "exc_page_fault irqentry_enter do_user_addr_fault lock_vma_under_rcu mas_walk mtree_range_walk down_read_trylock handle_mm_fault " +
    "__handle_mm_fault __pte_offset_map_lock __pte_offset_map up_read irqentry_exit",
  "kernel.user.mprotectCycles":
    "do_mprotect_pkey down_write_killable mas_find mas_walk mtree_range_walk security_file_mprotect tlb_gather_mmu mprotect_fixup vma_modify " +
    "mas_prev vma_set_page_prot vma_wants_writenotify vm_get_page_prot change_protection __pte_offset_map_lock __pte_offset_map " +
    "vm_stat_account vm_stat_account perf_event_mmap tlb_finish_mmu up_write",
  "kernel.user.madviseCycles":
    "do_madvise down_read madvise_walk_vmas find_vma_prev mas_walk mtree_range_walk mas_prev blk_start_plug madvise_vma_behavior " +
    "zap_page_range_single lru_add_drain lru_add_drain_cpu tlb_gather_mmu unmap_single_vma unmap_page_range __pte_offset_map_lock " +
    "__pte_offset_map tlb_finish_mmu blk_finish_plug up_read",
  "kernel.user.mmapCycles":
    "ksys_mmap_pgoff vm_mmap_pgoff security_mmap_file down_write_killable do_mmap __get_unmapped_area mm_get_unmapped_area_vmflags " +
    "arch_get_unmapped_area_topdown vm_unmapped_area mas_empty_area_rev mmap_region may_expand_vm mas_find mas_prev vma_merge vma_prepare " +
    "mas_store_prealloc mas_wr_store_entry vma_complete perf_event_mmap vm_stat_account vma_set_page_prot up_write",
  "kernel.user.munmapCycles":
    "__vm_munmap down_write_killable do_vmi_munmap mas_find mas_walk mtree_range_walk do_vmi_align_munmap vms_gather_munmap_vmas mas_store_gfp " +
    "mas_wr_store_entry mas_store_gfp mas_wr_store_entry vms_complete_munmap_vmas lru_add_drain lru_add_drain_cpu tlb_gather_mmu unmap_vmas " +
    "unmap_single_vma unmap_page_range __pte_offset_map_lock __pte_offset_map free_pgtables unlink_anon_vmas tlb_finish_mmu vm_stat_account " +
    "remove_vma vm_area_free kmem_cache_free up_write",
  // Where rights are given; where they are taken away, none (`change_pte_range`): the mean is two.
  "kernel.user.protectEntryCycles": "can_change_pte_writable vm_normal_page",
  "kernel.user.zapEntryCycles":
    "vm_normal_page folio_remove_rmap_ptes __lruvec_stat_mod_folio __mod_node_page_state __tlb_remove_folio_pages",
  "kernel.user.zapZeroPageCycles": "vm_normal_page",
  "kernel.user.lruCycles": "__page_cache_release __mod_lruvec_state __mod_node_page_state __mod_zone_page_state",
  "kernel.user.copyEntryCycles": "vm_normal_page",
  "kernel.user.copyPageCycles": "copy_mc_to_kernel",
  "kernel.contextSwitchCycles":
    "__schedule update_rq_clock dequeue_task_fair dequeue_entities dequeue_entity update_curr pick_next_task_fair pick_eevdf set_next_entity " +
    "put_prev_entity update_curr switch_mm_irqs_off __switch_to finish_task_switch",
  "kernel.kernelEntryCycles": "do_syscall_64 x64_sys_call",
  "kernel.kernelExitCycles": "__x64_sys_mprotect syscall_exit_to_user_mode",
  "kernel.pages.zeroCallCycles": "clear_page_erms",
  "kernel.callCycles": "vmalloc __vmalloc_node __vmalloc_node_range __get_vm_area_node alloc_vmap_area",
};

/**
 * What kernel code costs under `mode` on a part: `costs`, and what their returns take more where they go through a thunk.
 * @throws ConfigError for a part of whose mitigations nothing is known
 */
export function withReturnThunks(costs: KernelCosts, preset: Preset, mode: MitigationMode): KernelCosts {
  const cycles = returnThunkCycles(preset, mode);
  if (cycles === 0) return costs;
  checkKernelCosts(costs);
  let slower = costs;
  for (const { name, value } of kernelFiguresOf(costs)) {
    const returns = returnsOf(name);
    if (returns > 0) slower = withKernelCost(slower, name, Number(value) + returns * cycles);
  }
  return slower;
}

/** How many functions return while a cost is paid. */
export function returnsOf(name: string): number {
  return Object.hasOwn(RETURNING, name) ? RETURNING[name].split(" ").length : 0;
}
